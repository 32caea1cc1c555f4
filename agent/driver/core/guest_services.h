// agent/driver/core/guest_services.h - what qemu-guest-agent in a machine does for the driver:
// orderly shutdown, the time after a standstill, what it says of itself.
//
// All of it is best effort and bounded in time: a guest without agent, or a silent one, is left
// alone for a while after it cost a call. Any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/driver/core/vmm_process.h"
#include "agent/guest/guest_agent.h"
#include "agent/guest/rota.h"
#include "base/clock.h"

namespace reeve::agent::core_driver {

class GuestServices {
 public:
  /// `clock` outlives the object.
  explicit GuestServices(const Clock& clock) : clock_(clock), rota_(clock) {}

  /// True when the guest was asked; false: press the power button.
  bool shut_down(const VmmProcess& process, GuestAgent::Shutdown how) const;
  /// After a pause or a restore, whose guests' clocks stood still.
  void tell_time(const VmmProcess& process) const;
  /// Rota::ask().
  std::vector<std::string> ask(const std::map<std::string, const VmmProcess*>& running);
  const Rota& rota() const { return rota_; }
  void forget(const std::string& uid) { rota_.forget(uid); }

 private:
  const Clock& clock_;
  Rota rota_;
};

}  // namespace reeve::agent::core_driver
