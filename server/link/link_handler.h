// server/link/link_handler.h - the agent port's service: who is calling, then the adaptor for the
// stream.
//
// TLS has verified that the certificate is ours; which host it is comes from its key. A key that no
// host has (any more) is refused.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/mutex.h"
#include "db/readers.h"
#include "reeve/agent/v1/link_service.grpc.pb.h"
#include "server/agents/agent_pool.h"
#include "server/link/agent_stream.h"
#include "server/link/console_relay.h"
#include "server/link/upload_relay.h"

namespace reeve::server {

class LinkHandler final : public agent::v1::LinkService::CallbackService {
 public:
  /// All outlive the handler.
  struct Parts {
    AgentPool* agents = nullptr;
    ConsoleHub* consoles = nullptr;
    UploadHub* uploads = nullptr;
    db::Readers* readers = nullptr;
    Loop* core_loop = nullptr;
  };
  explicit LinkHandler(const Parts& parts);
  ~LinkHandler() override;

  ConnectReactor* Connect(grpc::CallbackServerContext* context) override;
  RelayReactor* RelayConsole(grpc::CallbackServerContext* context) override;
  UploadReactor* ReceiveUpload(grpc::CallbackServerContext* context,
                               const agent::v1::ReceiveUploadRequest* request) override;

  /// Ends all streams: the server stops.
  void close();

 private:
  /// PermissionDenied/HOST_KEY_UNKNOWN.
  Result<std::string> host_of(const grpc::CallbackServerContext& context) const;
  /// `entry(cut)` says whether its stream lives, and ends it when `cut`.
  void remember(std::function<bool(bool cut)> entry);

  const Parts parts_;
  Mutex mutex_;
  std::vector<std::function<bool(bool cut)>> open_ REEVE_GUARDED_BY(mutex_);
  std::size_t sweep_at_ REEVE_GUARDED_BY(mutex_) = 64;
};

}  // namespace reeve::server
