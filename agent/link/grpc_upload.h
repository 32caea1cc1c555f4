// agent/link/grpc_upload.h - the bytes behind an upload ticket, received over gRPC.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "agent/storage/store.h"

namespace reeve::agent {

inline constexpr std::chrono::seconds kUploadSilence{30};

/// Unavailable/UPLOAD_LOST from read() when nothing came for kUploadSilence or the stream broke. At
/// most a few messages are held in memory.
Result<std::unique_ptr<ByteSource>> open_upload(const std::shared_ptr<grpc::Channel>& channel,
                                                const std::string& ticket);

}  // namespace reeve::agent
