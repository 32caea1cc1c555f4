// hypervisor_core/control/client.h - the agent's side of a reeve-vmm control socket.
//
//   auto vmm = TRY(ControlClient::connect(run_dir / kControlSocket));
//   v1::ControlRequest request;
//   request.mutable_pause();
//   auto reply = TRY(vmm.call(std::move(request), 5s));
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>

#include "base/fd.h"
#include "base/status.h"
#include "hypervisor_core/control/frame.h"
#include "reeve/core/v1/control.pb.h"

namespace reeve::core::control {

/// Files of a run directory.
inline constexpr const char* kMachineFile = "machine.pb";  ///< MachineConfig, written by the agent
inline constexpr const char* kRestoreFile =
    "restore.state";                                ///< optional: a saved state to go on from
inline constexpr const char* kPidFile = "vmm.pid";  ///< "PID START_TICKS\n", see base/subprocess.h
inline constexpr const char* kControlSocket = "control.sock";
inline constexpr const char* kExitFile = "exit.pb";  ///< ExitReport, written when the machine ended
inline constexpr const char* kConsoleSocket = "console.sock";  ///< bytes typed at the console
/// All console output of all runs; bounded, the older part is in FILE.0.
inline constexpr const char* kConsoleLog = "console.log";
inline constexpr const char* kConsoleTail = "console.tail";  ///< the last console output, likewise

/// One connection. Calls block and are for one thread at a time. A failed call leaves the
/// connection unusable unless its error came from the machine.
class ControlClient {
 public:
  /// Unavailable/VMM_NOT_THERE.
  static Result<ControlClient> connect(const std::filesystem::path& socket);

  /// Sends and waits for the answer; the id is chosen here. Errors of the machine as they are;
  /// Unavailable/VMM_GONE, DeadlineExceeded/VMM_SILENT.
  Result<v1::ControlReply> call(v1::ControlRequest request, std::chrono::milliseconds timeout);
  /// The next event on a connection that watches; nothing when `timeout` passes.
  /// Unavailable/VMM_GONE.
  Result<std::optional<v1::ControlEvent>> next_event(std::chrono::milliseconds timeout);
  /// Readable when next_event() may have something.
  int fd() const { return socket_.get(); }

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  explicit ControlClient(Fd socket) : socket_(std::move(socket)) {}
  Result<std::optional<v1::ControlMessage>> receive(Deadline deadline);

  Fd socket_;
  FrameReader reader_;
  std::deque<v1::ControlEvent> events_;
  std::uint64_t next_id_ = 1;
};

}  // namespace reeve::core::control
