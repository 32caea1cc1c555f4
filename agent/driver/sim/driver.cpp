#include "agent/driver/sim/driver.h"

#include "base/uuid.h"

namespace reeve::agent {

SimDriver::SimDriver(SimHypervisor& hypervisor)
    : hypervisor_(hypervisor), listener_(std::make_shared<SimHypervisor::Listener>()) {
  hypervisor_.add_listener(listener_);
}

SimDriver::~SimDriver() {
  hypervisor_.remove_listener(listener_);
}

Result<std::vector<std::string>> SimDriver::define(const GuestDefinition& guest) {
  if (!is_uuid(guest.uid) || guest.cpus < 1 || guest.memory_mib < 1 || guest.limits.cpu_weight < 0)
    return Error(Code::InvalidArgument, "GUEST_INVALID",
                 "guest '" + guest.display_name + "' needs a UUID, a CPU, memory, possible limits");
  return hypervisor_.define(guest);
}

bool SimDriver::watch(std::function<void(std::string uid)> changed) {
  if (!hypervisor_.options_.events) return false;
  Lock lock(listener_->mutex);
  listener_->changed = std::move(changed);
  return true;
}

}  // namespace reeve::agent
