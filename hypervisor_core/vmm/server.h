// hypervisor_core/vmm/server.h - answers the control socket of one machine until it has ended.
//
// One thread, and another one for calls that wait for the machine's threads and disks: pause,
// resume, reset, stop, save, disk_grown. They are done one at a time, in the order they came; all
// others are answered meanwhile. A caller that is slow to read its console or events loses nothing
// but time: output waits in the console ring, not here. At most kMaxConnections callers.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread.h"
#include "hypervisor_core/control/frame.h"
#include "hypervisor_core/sandbox/report.h"
#include "hypervisor_core/vm/vm.h"
#include "hypervisor_core/vmm/console_outlet.h"

namespace reeve::core::vmm {

class Server {
 public:
  static constexpr std::size_t kMaxConnections = 16;
  /// Bytes waiting to be sent beyond which a caller gets no more events.
  static constexpr std::size_t kMaxBacklog = 256 << 10;

  /// `wake` is an eventfd that the machine rings on output and changes of state; `run_dir` an open
  /// folder; `jail` is told to whoever asks for the status. All outlive the server.
  Server(Vm& vm, ConsoleOutlet& console, Fd listener, int wake, int run_dir,
         const sandbox::Report& jail);
  ~Server();

  /// Returns when the machine has ended and callers know, or at once after stop was asked for.
  void serve();

 private:
  struct Connection;
  void accept_caller();
  bool receive(Connection& connection);
  bool flush(Connection& connection);
  void answer(Connection& connection, const v1::ControlRequest& request);
  Status obey(Connection& connection, const v1::ControlRequest& request, v1::ControlReply& reply);
  /// The call as something to do on verbs_; empty when it is answered at once.
  std::function<Status()> slow_verb(const v1::ControlRequest& request);
  void begin_verb(const Connection& connection, const v1::ControlRequest& request,
                  std::function<Status()> verb);
  void finish_verbs();
  bool owes_answers() const;
  bool is_saving() const;
  std::string doing() const;
  Status save(const std::string& file_name);
  Status call_guest_agent(Connection& connection, const v1::ControlRequest& request);
  void finish_agent_call();
  void thaw_when_due();
  int poll_timeout_ms(bool ended) const;
  void push_events(Connection& connection);
  bool has_more_to_tell(const Connection& connection) const;

  v1::MachineStatus status() const;

  Vm& vm_;
  ConsoleOutlet& console_;
  Fd listener_;
  const int wake_;
  const int run_dir_;
  const sandbox::Report& jail_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::uint64_t callers_ = 0;  ///< so far; names a connection
  /// The guest agent answers one call at a time; this one waits.
  struct AgentCall {
    Connection* caller = nullptr;  ///< null when it hung up meanwhile
    std::uint64_t id = 0;
    std::chrono::steady_clock::time_point deadline{};
  };
  std::optional<AgentCall> agent_call_;
  /// The guest's file systems do not stay frozen when who froze them is gone or late.
  struct Thaw {
    Connection* caller = nullptr;  ///< null when it hung up meanwhile
    std::chrono::steady_clock::time_point due{};
  };
  std::optional<Thaw> thaw_;
  std::chrono::steady_clock::time_point rest_until_{};
  std::uint64_t state_changes_ = 0;
  Vm::State last_state_ = Vm::State::Created;
  std::uint32_t last_resets_ = 0, last_alarms_ = 0;

  struct UnderWay {
    std::uint64_t caller = 0;
    std::uint64_t id = 0;
    v1::ControlRequest::VerbCase verb{};
    Status outcome{};
  };
  mutable Mutex verbs_mutex_;
  std::deque<UnderWay> verbs_waiting_ REEVE_GUARDED_BY(verbs_mutex_);  ///< the first is under way
  std::vector<UnderWay> verbs_done_ REEVE_GUARDED_BY(verbs_mutex_);
  std::atomic<std::uint64_t> saved_bytes_{0};  ///< of the last save
  WorkerPool verbs_{"vm-verbs", 1};            ///< last: its thread uses the members above
};

}  // namespace reeve::core::vmm
