// agent/link/grpc_error.h - a failed gRPC call as our error, and the credentials of our calls.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "agent/link/identity.h"
#include "base/status.h"

namespace reeve::agent {

Error error_of(const grpc::Status& status, const std::string& attempt);

/// TLS to a server signed by `credentials.ca_pem`; with our certificate when there is one. Every
/// channel has its own connections: a renewed certificate is used from the next one on.
std::shared_ptr<grpc::Channel> open_channel(const std::string& address,
                                            const Credentials& credentials);

/// Once, before the first stream: gRPC ends the threads that run its callbacks with the last
/// channel, and a channel freed by one of these threads makes it wait for itself. A channel that is
/// never freed keeps them.
void keep_callback_threads();

}  // namespace reeve::agent
