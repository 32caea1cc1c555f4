// agent/link/grpc_link.h - the link over gRPC: the stream, and the side streams for uploads and
// consoles.
//
// Threads: gRPC's own call the events; everything else as the interfaces say.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "agent/link/channel.h"
#include "agent/link/identity.h"
#include "agent/storage/store.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace reeve::agent {

class GrpcLink final : public ServerChannel, public Uploads {
 public:
  /// `files` outlives the link. Credentials are read anew for each connection.
  GrpcLink(const IdentityFiles& files, std::string address);

  std::unique_ptr<Connection> connect(ConnectionEvents events) override;
  Result<std::unique_ptr<ByteSource>> open(const std::string& ticket) override;
  /// The channel of the latest connection, for side streams; null before the first.
  std::shared_ptr<grpc::Channel> channel() const;

 private:
  const IdentityFiles& files_;
  const std::string address_;
  mutable Mutex mutex_;
  std::shared_ptr<grpc::Channel> channel_ REEVE_GUARDED_BY(mutex_);
  WorkerPool opener_{"link", 1};  ///< reads credentials and makes channels: 30 ms off the loop
};

}  // namespace reeve::agent
