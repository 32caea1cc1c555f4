// agent/link/grpc_upload.h - the bytes behind an upload ticket, received over gRPC.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "agent/storage/store.h"

namespace reeve::agent {

inline constexpr std::chrono::seconds kUploadSilence{30};

/// From read() Unavailable/UPLOAD_LOST when the stream broke, which may be tried again, and
/// Aborted/UPLOAD_INTERRUPTED when the client is gone or nothing came for kUploadSilence. At most a
/// few messages are held in memory.
Result<std::unique_ptr<ByteSource>> open_upload(const std::shared_ptr<grpc::Channel>& channel,
                                                const std::string& ticket);

}  // namespace reeve::agent
