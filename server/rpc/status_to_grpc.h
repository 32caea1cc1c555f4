// server/rpc/status_to_grpc.h - the one place where our errors meet gRPC's.
#pragma once

#include <grpcpp/support/status.h>

#include "base/status.h"

namespace reeve::server {

/// Code and message; `grpc-status-details-bin` is a serialized reeve.v1.ErrorDetail. Long texts are
/// cut so that the trailers stay below what clients accept (8 KiB).
grpc::Status to_grpc(const Error& error);
inline grpc::Status to_grpc(const Status& status) {
  return status.ok() ? grpc::Status::OK : to_grpc(status.error());
}

}  // namespace reeve::server
