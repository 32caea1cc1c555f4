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
#include <string>

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

/// One connection. Calls block, but never beyond their timeout, whatever the other side does. They
/// are for one thread at a time. A failed call leaves the connection unusable unless its error came
/// from the machine. What a process says is bounded and fit to be passed on (control/said.h).
class ControlClient {
 public:
  static constexpr std::chrono::seconds kConnectTimeout{5};
  /// What a call keeps of events that come before its answer: beyond either it is VMM_FAULTY.
  static constexpr std::size_t kMaxKeptEvents = 1024, kMaxKeptBytes = 1 << 20;

  /// Unavailable/VMM_NOT_THERE; DeadlineExceeded/VMM_SILENT when too many callers wait before us.
  static Result<ControlClient> connect(const std::filesystem::path& socket,
                                       std::chrono::milliseconds timeout = kConnectTimeout);

  /// Sends and waits for the answer; the id is chosen here. Errors of the machine as they are;
  /// Unavailable/VMM_GONE, DeadlineExceeded/VMM_SILENT, Internal/VMM_FAULTY;
  /// InvalidArgument/CONTROL_FRAME when the request is too long, and nothing was sent.
  Result<v1::ControlReply> call(v1::ControlRequest request, std::chrono::milliseconds timeout);
  /// Sends only: next_event() passes over the answer. Errors of call().
  Status send(v1::ControlRequest request, std::chrono::milliseconds timeout);
  /// The next event on a connection that watches; nothing when `timeout` passes, or has passed and
  /// no whole event was there. Unavailable/VMM_GONE, Internal/VMM_FAULTY.
  Result<std::optional<v1::ControlEvent>> next_event(std::chrono::milliseconds timeout);
  /// Readable when next_event() may have something, besides what it has read already.
  int fd() const { return socket_.get(); }

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  explicit ControlClient(Fd socket) : socket_(std::move(socket)) {}
  Status send_by(v1::ControlRequest& request, Deadline deadline);
  Result<std::optional<v1::ControlMessage>> receive(Deadline deadline);
  Error faulty(const std::string& how);

  Fd socket_;
  FrameReader reader_;
  std::deque<v1::ControlEvent> events_;
  std::uint64_t next_id_ = 1;
};

}  // namespace reeve::core::control
