// server/link/console_relay.h - the agent's end of a console: the ticket first, then output one
// way, input the other.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "reeve/agent/v1/link_service.pb.h"
#include "server/link/console_hub.h"
#include "server/rpc/turn.h"

namespace reeve::server {

using RelayReactor =
    grpc::ServerBidiReactor<agent::v1::RelayConsoleRequest, agent::v1::RelayConsoleResponse>;

/// Owns itself until OnDone. Reads from the agent only while the client's pipe has room.
class ConsoleRelay final : public RelayReactor, public std::enable_shared_from_this<ConsoleRelay> {
 public:
  /// `context` is the call's.
  static std::shared_ptr<ConsoleRelay> create(grpc::CallbackServerContext& context,
                                              std::string host_uid, ConsoleHub& hub);
  /// Ends the stream; the client gets `why`.
  void end(const Error& why);

 private:
  ConsoleRelay(grpc::CallbackServerContext& context, std::string host_uid, ConsoleHub& hub)
      : context_(context), host_uid_(std::move(host_uid)), hub_(hub) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  Status redeem();
  void read_on() {
    if (read_turn_.take()) pump_reads();
  }
  void write_on() {
    if (write_turn_.take()) pump_writes();
  }
  void pump_reads();
  void pump_writes();
  void finish(const Status& status);

  grpc::CallbackServerContext& context_;
  const std::string host_uid_;
  ConsoleHub& hub_;
  std::shared_ptr<ConsoleRelay> self_;       // until OnDone
  std::shared_ptr<ConsoleSession> session_;  // set by the first message
  agent::v1::RelayConsoleRequest reading_;
  agent::v1::RelayConsoleResponse writing_;
  Turn read_turn_;
  Turn write_turn_;
  Mutex mutex_;
  bool is_writing_ REEVE_GUARDED_BY(mutex_) = false;
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::server
