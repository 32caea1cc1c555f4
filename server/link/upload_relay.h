// server/link/upload_relay.h - the agent's end of an upload: bytes as fast as the agent stores
// them.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "reeve/agent/v1/link_service.pb.h"
#include "server/link/upload_hub.h"
#include "server/rpc/turn.h"

namespace reeve::server {

using UploadReactor = grpc::ServerWriteReactor<agent::v1::ReceiveUploadResponse>;

/// Owns itself until OnDone.
class UploadRelay final : public UploadReactor, public std::enable_shared_from_this<UploadRelay> {
 public:
  static std::shared_ptr<UploadRelay> create(const std::string& host_uid, const std::string& ticket,
                                             UploadHub& hub);
  void end(const Error& why);

 private:
  explicit UploadRelay(UploadHub& hub) : hub_(hub) {}
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void write_on() {
    if (turn_.take()) pump();
  }
  void pump();
  void finish(const Status& status);

  UploadHub& hub_;
  std::shared_ptr<UploadRelay> self_;  // until OnDone
  std::shared_ptr<Upload> upload_;     // null when refused
  agent::v1::ReceiveUploadResponse writing_;
  Turn turn_;
  Mutex mutex_;
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::server
