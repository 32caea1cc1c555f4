// tests/contract/driver_worlds.h - the hypervisors that the driver contract runs over.
//
// A world is one hypervisor made for one test case, and all the suite needs to know about it. To
// add a driver: write its world, add it to REEVE_DRIVER_WORLDS. The suite is built twice: with
// these, and with the own core and real Linux for the KVM lab (in_lab).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/driver/driver.h"
#include "base/fd.h"
#include "base/random.h"
#include "tests/support/temp_dir.h"

namespace reeve::test {

class DriverWorld {
 public:
  virtual ~DriverWorld() = default;
  virtual agent::Driver& driver() = 0;
  /// Destroys the driver and makes it anew, as an agent's restart does. False where guests cannot
  /// outlive their driver.
  virtual bool restart_driver() = 0;
  /// Adjusts a definition to what this hypervisor can run (disks, kernel); everything else is as
  /// given.
  virtual void furnish(agent::GuestDefinition& guest) = 0;
  /// Returns once a running guest would answer the power button, having come up `times` times.
  virtual void wait_until_up(const agent::GuestDefinition& /*guest*/, int /*times*/) {}
  /// Checks that a guest, up once until now, runs and did not come up again, where that can be
  /// seen.
  virtual void check_goes_on(const agent::GuestDefinition& /*guest*/) {}
  /// The limits that hold for a running guest, seen without the driver; nothing where that cannot
  /// be seen.
  virtual std::optional<agent::GuestLimits> limits_from_outside(const std::string& /*uid*/) {
    return {};
  }
  /// A line for the guest's console, and what the guest then writes.
  virtual std::pair<std::string, std::string> exchange() {
    return {"echo one-$((40 + 2))\n", "one-42"};
  }
  /// Lets time pass until `holds`, at most a few minutes of it.
  virtual bool eventually(const std::function<bool()>& holds) = 0;

  /// A definition that runs here. `name` must be unique in the test.
  agent::GuestDefinition guest(const std::string& name);
  bool can(const std::string& capability);
  agent::GuestState state(const std::string& uid);
  bool becomes(const std::string& uid, agent::GuestState wanted);
  const TempDir& dir() const { return dir_; }

 private:
  SeededRandom random_{42};
  TempDir dir_;
};

/// Asks again and again for a while.
bool poll_until(const std::function<bool()>& holds,
                std::chrono::seconds limit = std::chrono::seconds(150));
Fd connect_to(const std::string& socket_path);
bool contains(const std::string& file, std::string_view text, int times = 1);

/// Collects what a driver's watch() says, from any thread.
class Heard {
 public:
  std::function<void(std::string)> listener();
  bool has(const std::string& uid) const;
  std::vector<std::string> all() const;
  void clear();

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> uids_;
};

struct SimWorldOfDrivers {
  static constexpr const char* kName = "sim";
  static std::unique_ptr<DriverWorld> make();
};
/// libvirt's own test driver, a private world per connection.
struct LibvirtTestWorld {
  static constexpr const char* kName = "libvirt test";
  static std::unique_ptr<DriverWorld> make();
};
/// QEMU (software emulation) in a private libvirtd.
struct LibvirtQemuWorld {
  static constexpr const char* kName = "libvirt QEMU";
  static std::unique_ptr<DriverWorld> make();
};

/// The own core with guests of a few bytes, straight on /dev/kvm: they run on any KVM.
struct CorePayloadWorld {
  static constexpr const char* kName = "core";
  static std::unique_ptr<DriverWorld> make();
};

/// The own core with unmodified Linux, a disk and a network card each: in the lab machine.
struct CoreLinuxWorld {
  static constexpr const char* kName = "core, Linux";
  static std::unique_ptr<DriverWorld> make();
};

#ifdef REEVE_CONTRACT_IN_LAB
#define REEVE_DRIVER_WORLDS reeve::test::CoreLinuxWorld
#else
#define REEVE_DRIVER_WORLDS                                                                     \
  reeve::test::SimWorldOfDrivers, reeve::test::LibvirtTestWorld, reeve::test::LibvirtQemuWorld, \
      reeve::test::CorePayloadWorld
#endif

}  // namespace reeve::test
