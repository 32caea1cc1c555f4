// agent/link/grpc_enrollment.h - how a host gets its certificate and keeps it fresh.
#pragma once

#include <string>

#include "agent/link/identity.h"
#include "base/clock.h"
#include "base/status.h"

namespace reeve::agent {

struct EnrollOptions {
  std::string server{};  ///< "host:port" of the API
  std::string token{};
  std::string hostname{};  ///< how the host calls itself
};

/// Fetches the server's CA, compares it with the fingerprint in the token before anything is said,
/// makes the key, redeems the token and keeps what came back. Blocks.
/// InvalidArgument/BAD_ENROLL_TOKEN, BAD_ADDRESS; Unauthenticated/SERVER_NOT_TRUSTED (another CA
/// than the token names); AlreadyExists/ALREADY_ENROLLED; what the server answers.
Result<v1::Identity> enroll(const IdentityFiles& files, const EnrollOptions& options);

/// Gets a new certificate for our key, also when the old one has expired. Blocks.
Status renew(const IdentityFiles& files);

}  // namespace reeve::agent
