// agent/guest/guest_agent.h - client of qemu-guest-agent.
//
// How agent/driver/core uses it: one GuestAgent per running guest with an agent channel, over a
// wire that passes each call as GuestAgentCall through that guest's ControlClient
// (hypervisor_core/control/client.h); an empty `text` is an empty `json`, thaw_after becomes
// thaw_after_ms. Then
//   ping()              now and then: the heartbeat
//   set_time(now)       after resume() and restore(), whose guests' clocks stood still
//   facts()             for GuestSeen::guest, when rota.h says so
//   shutdown()          in request_shutdown() and request_reboot(), before the power button
//   while_frozen()      around a copy of the disks
// Calls block, for timeout at most each, and are made by one thread at a time.
//
// The guest may answer anything, late, twice or not at all. Requests carry ids, and the first call
// after a silence is preceded by guest-sync, so an old answer is never taken for a new one.
// Errors of all calls: those of answer.h and of the wire; DeadlineExceeded/GUEST_AGENT_SILENT.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guest/answer.h"
#include "base/clock.h"
#include "base/status.h"

namespace reeve::agent {

/// One line to the agent and the next one from it.
struct GuestAgentLine {
  std::string text{};  ///< JSON without newline; empty: only wait for another line
  std::chrono::milliseconds timeout{0};
  /// Not 0: whoever carries the line thaws the guest's file systems by itself once so much time has
  /// passed or this side is gone.
  std::chrono::milliseconds thaw_after{0};
};

class GuestAgentWire {
 public:
  virtual ~GuestAgentWire() = default;
  /// DeadlineExceeded/GUEST_AGENT_SILENT when none comes in time; Unavailable/GUEST_AGENT_SILENT
  /// when no agent runs, Unavailable/GUEST_AGENT_BUSY; Unavailable/VMM_GONE when the machine ended.
  virtual Result<std::string> exchange(const GuestAgentLine& line) = 0;
};

class GuestAgent {
 public:
  enum class Shutdown : std::uint8_t { PowerOff, Reboot };

  /// Both outlive the client.
  explicit GuestAgent(GuestAgentWire& wire, const Clock& clock = RealClock::instance())
      : wire_(wire), clock_(clock) {}

  /// How long one call waits for its answer.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

  Status ping();
  /// The agent's version.
  Result<std::string> version();
  /// Success means that the guest was asked. It does not answer when it obeys at once.
  Status shutdown(Shutdown how);
  Status set_time(WallTime now);
  Result<WallTime> time();
  Result<std::vector<GuestNicFacts>> nics();
  /// All of it, cards included. What the agent does not know stays empty.
  Result<GuestFacts> facts();

  /// Freezes the guest's file systems, runs `work`, thaws them. They are thawed in any case: after
  /// `limit` by the wire itself, even if this process dies. `work` should end well before.
  /// Aborted/FREEZE_EXPIRED when it did not: what it copied is not of one moment. Unavailable/
  /// GUEST_STILL_FROZEN when no thaw was confirmed here; the wire's own follows. Errors of `work`.
  Status while_frozen(std::chrono::milliseconds limit, const std::function<Status()>& work);

 private:
  Result<std::string> call(std::string_view command, std::string_view arguments = {},
                           std::chrono::milliseconds thaw_after = {});
  Result<std::string> await(GuestAgentLine line, std::int64_t id);
  Status sync();
  Status thaw();

  GuestAgentWire& wire_;
  const Clock& clock_;
  std::chrono::milliseconds timeout_{std::chrono::seconds(5)};
  std::int64_t next_id_ = 1;
  bool in_step_ = false;  ///< the last call got its answer
};

}  // namespace reeve::agent
