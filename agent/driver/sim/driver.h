// agent/driver/sim/driver.h - the agent's side of a SimHypervisor; see hypervisor.h.
#pragma once

#include <memory>

#include "agent/driver/driver.h"
#include "agent/driver/sim/hypervisor.h"

namespace reeve::agent {

/// Never blocks. Several drivers may share one hypervisor, one after the other or at once.
class SimDriver final : public Driver, private SavedState {
 public:
  /// `hypervisor` must outlive the driver.
  explicit SimDriver(SimHypervisor& hypervisor);
  ~SimDriver() override;
  SimDriver(const SimDriver&) = delete;
  SimDriver& operator=(const SimDriver&) = delete;

  DriverFacts facts() override { return hypervisor_.facts(); }
  Result<std::vector<GuestSeen>> list() override { return hypervisor_.list(); }
  Result<GuestSeen> get(std::string_view uid) override { return hypervisor_.get(uid); }
  Result<std::vector<GuestUse>> use() override { return hypervisor_.use(); }
  Result<std::vector<std::string>> define(const GuestDefinition& guest) override;
  Status undefine(std::string_view uid) override { return hypervisor_.undefine(uid); }
  Status start(std::string_view uid) override { return hypervisor_.start(uid); }
  Status request_shutdown(std::string_view uid) override {
    return hypervisor_.request_shutdown(uid);
  }
  Status request_reboot(std::string_view uid) override { return hypervisor_.request_reboot(uid); }
  Status power_off(std::string_view uid) override { return hypervisor_.power_off(uid); }
  Status reset(std::string_view uid) override { return hypervisor_.reset(uid); }
  Status pause(std::string_view uid) override { return hypervisor_.pause(uid); }
  Status resume(std::string_view uid) override { return hypervisor_.resume(uid); }
  /// After the driver's destructor `changed` is never called again.
  bool watch(std::function<void(std::string uid)> changed) override;
  SavedState* saved_state() override { return hypervisor_.options_.saved_state ? this : nullptr; }

 private:
  Status save(std::string_view uid, const std::string& path) override {
    return hypervisor_.save(uid, path);
  }
  Status restore(std::string_view uid, const std::string& path) override {
    return hypervisor_.restore(uid, path);
  }

  SimHypervisor& hypervisor_;
  const std::shared_ptr<SimHypervisor::Listener> listener_;
};

}  // namespace reeve::agent
