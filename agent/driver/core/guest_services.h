// agent/driver/core/guest_services.h - what qemu-guest-agent in a machine does for the driver:
// orderly shutdown, the time after a standstill, addresses.
//
// All of it is best effort and bounded in time: a guest without agent, or a silent one, is left
// alone for a while after it cost a call. Any thread.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/driver/core/vmm_process.h"
#include "agent/guest/guest_agent.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace reeve::agent::core_driver {

class GuestServices {
 public:
  /// `clock` outlives the object.
  explicit GuestServices(const Clock& clock) : clock_(clock) {}

  /// True when the guest was asked; false: press the power button.
  bool shut_down(const VmmProcess& process, GuestAgent::Shutdown how) const;
  /// After a pause or a restore, whose guests' clocks stood still.
  void tell_time(const VmmProcess& process) const;
  /// What the guest last said. Asks it when that is old, one guest at a time, so that a list of
  /// many guests waits for one answer at most.
  std::vector<std::string> addresses(const std::string& uid, const VmmProcess& process);
  void forget(const std::string& uid);

 private:
  struct Known {
    std::vector<std::string> addresses{};
    Monotonic ask_again{};
  };
  const Clock& clock_;
  Mutex mutex_;
  std::map<std::string, Known> known_ REEVE_GUARDED_BY(mutex_);
  Monotonic next_turn_ REEVE_GUARDED_BY(mutex_){};
};

}  // namespace reeve::agent::core_driver
