// server/api/console_stream.h - one AttachConsole call: the client's end of a console.
#pragma once

#include <memory>

#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "reeve/v1/vm_service.pb.h"
#include "server/api/admission.h"
#include "server/app/vm_service.h"
#include "server/link/console_hub.h"
#include "server/rpc/turn.h"

namespace reeve::server {

using ConsoleReactor = grpc::ServerBidiReactor<v1::AttachConsoleRequest, v1::AttachConsoleResponse>;

/// Owns itself until OnDone. Reads input only while the agent takes it, writes output only as fast
/// as the client reads; the audit row is written when the console was opened or refused.
class ConsoleStream final : public ConsoleReactor,
                            public OpenCall,
                            public std::enable_shared_from_this<ConsoleStream> {
 public:
  static constexpr std::size_t kMaxInput = 64u << 10;

  static std::shared_ptr<ConsoleStream> create(std::unique_ptr<Admission> admission, VmService& vms,
                                               ConsoleHub& hub);
  void stop(const Error& error) override { finish(error); }

 private:
  ConsoleStream(std::unique_ptr<Admission> admission, VmService& vms, ConsoleHub& hub)
      : admission_(std::move(admission)), vms_(vms), hub_(hub) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  /// The first message.
  void open();
  Result<std::shared_ptr<ConsoleSession>> attach(const v1::ConsoleOpen& request);
  Status take_input();
  void read_on() {
    if (read_turn_.take()) pump_reads();
  }
  void write_on() {
    if (write_turn_.take()) pump_writes();
  }
  void pump_reads();
  void pump_writes();
  void finish(const Status& status);

  const std::unique_ptr<Admission> admission_;
  VmService& vms_;
  ConsoleHub& hub_;
  std::shared_ptr<ConsoleStream> self_;      // until OnDone
  std::shared_ptr<ConsoleSession> session_;  // set by the first message
  v1::AttachConsoleRequest reading_;
  v1::AttachConsoleResponse writing_;
  Turn read_turn_;
  Turn write_turn_;
  Mutex mutex_;
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::server
