// tests/contract/driver_worlds.cpp - worlds of the simulated driver and of libvirt.
#include "tests/contract/driver_worlds.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "agent/driver/libvirt/driver.h"
#include "agent/driver/sim/driver.h"
#include "base/sim_loop.h"
#include "tests/support/guest_files.h"
#include "tests/support/libvirtd.h"

namespace reeve::test {

using namespace reeve::agent;
using namespace std::chrono_literals;

namespace {

class SimBed final : public DriverWorld {
 public:
  Driver& driver() override { return *driver_; }
  bool restart_driver() override {
    driver_.reset();
    driver_ = std::make_unique<SimDriver>(hypervisor_);
    return true;
  }
  void furnish(GuestDefinition& /*guest*/) override {}
  std::optional<GuestLimits> limits_from_outside(const std::string& uid) override {
    return hypervisor_.limits_of(uid);
  }
  bool eventually(const std::function<bool()>& holds) override {
    return world_.run_until(holds, 60s);
  }

 private:
  SimWorld world_{1};
  SimLoop machine_{world_};
  SimHypervisor hypervisor_{machine_, world_.random()};
  std::unique_ptr<SimDriver> driver_ = std::make_unique<SimDriver>(hypervisor_);
};

/// What both libvirt worlds share.
class LibvirtBed : public DriverWorld {
 public:
  explicit LibvirtBed(std::string uri) : uri_(std::move(uri)) { connect(); }
  Driver& driver() override { return *driver_; }
  bool eventually(const std::function<bool()>& holds) override { return poll_until(holds); }

 protected:
  void connect() {
    driver_.reset();
    driver_ = std::move(libvirt::LibvirtDriver::create(
                            {.uri = uri_, .confine = false, .first_attempt = 30s},
                            RealClock::instance(), SystemRandom::instance()))
                  .value();
    INFO(driver_->facts().description);
    REQUIRE(driver_->facts().available);
  }

 private:
  const std::string uri_;
  std::unique_ptr<Driver> driver_;
};

std::string empty_world(const TempDir& dir) {
  const auto path = dir / "node.xml";
  std::ofstream(path)
      << "<node><cpu><mhz>2000</mhz><model>x</model></cpu><memory>4194304</memory></node>";
  return "test://" + path.string();
}

class LibvirtTestBed final : private TempDir, public LibvirtBed {
 public:
  LibvirtTestBed() : LibvirtBed(empty_world(*this)) {}
  bool restart_driver() override { return false; }  // the world ends with its connection
  void furnish(GuestDefinition& /*guest*/) override {}
};

class LibvirtQemuBed final : private Libvirtd, public LibvirtBed {
 public:
  LibvirtQemuBed() : LibvirtBed(uri()) {}
  bool restart_driver() override {
    connect();
    return true;
  }
  void furnish(GuestDefinition& guest) override {
    const auto disk = guest.run_dir + "/disk0.raw";
    std::ofstream(disk) << std::string(1u << 20, '\0');
    guest.disks = {{.id = "disk0", .path = disk, .format = DiskFormat::Raw}};
    guest.nics = {{.id = "nic0", .mac = "52:54:00:00:00:01"}};
    const auto files = quick_guest();
    guest.kernel_path = files.kernel;
    guest.initrd_path = files.initramfs;
    guest.command_line = "console=ttyS0 quiet panic=-1 reeve.net=none";
  }
  void wait_until_up(const GuestDefinition& guest, int times) override {
    const auto log = guest.run_dir + "/serial.log";
    REQUIRE(poll_until([&] { return contains(log, "REEVE-GUEST UP", times); }));
  }
};

}  // namespace

std::unique_ptr<DriverWorld> SimWorldOfDrivers::make() {
  return std::make_unique<SimBed>();
}
std::unique_ptr<DriverWorld> LibvirtTestWorld::make() {
  return std::make_unique<LibvirtTestBed>();
}
std::unique_ptr<DriverWorld> LibvirtQemuWorld::make() {
  return std::make_unique<LibvirtQemuBed>();
}

}  // namespace reeve::test
