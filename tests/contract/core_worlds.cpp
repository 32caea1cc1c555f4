// tests/contract/core_worlds.cpp - worlds of the own core: payload guests on any KVM, real Linux in
// the lab machine.
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "agent/driver/core/cgroups.h"
#include "agent/driver/core/driver.h"
#include "base/file.h"
#include "tests/contract/driver_worlds.h"
#include "tests/hypervisor_core/support/console_guest.h"
#include "tests/hypervisor_core/support/payload_kernel.h"

namespace reeve::test {

using namespace reeve::agent;
using namespace std::chrono_literals;

namespace {

class CoreBed : private TempDir, public DriverWorld {
 public:
  CoreBed() { restart_driver(); }
  ~CoreBed() override {
    const auto left = driver_->list();
    for (const auto& guest : left.ok() ? left.value() : std::vector<GuestSeen>{})
      (void)driver_->power_off(guest.uid);
  }
  Driver& driver() override { return *driver_; }
  bool restart_driver() final {
    driver_.reset();
    core_driver::CoreOptions options;
    options.records = path() / "records";
    options.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
    options.version = "test";
    options.boot_id = "boot";
    options.usable = true;
    auto made = core_driver::CoreDriver::create(std::move(options), RealClock::instance());
    INFO((made.ok() ? "" : made.error().message()));
    REQUIRE(made.ok());
    driver_ = std::move(made).value();
    return true;
  }
  std::optional<GuestLimits> limits_from_outside(const std::string& uid) override {
    const auto groups = core_driver::Cgroups::find();
    if (groups.layout() == core_driver::Cgroups::Layout::None || ::geteuid() != 0) return {};
    const bool v2 = groups.layout() == core_driver::Cgroups::Layout::V2;
    const auto number = [&](const std::string& controller, const std::string& file) {
      const auto path =
          "/sys/fs/cgroup/" + (v2 ? "" : controller + "/") + "reeve/" + uid + "/" + file;
      return std::stoll(read_file(path).value());  // "50000 100000" reads as its first number
    };
    const auto weight = v2 ? number("cpu", "cpu.weight") : number("cpu", "cpu.shares") * 100 / 1024;
    const auto quota = number("cpu", v2 ? "cpu.max" : "cpu.cfs_quota_us");
    const auto memory = number("memory", v2 ? "memory.max" : "memory.limit_in_bytes");
    return GuestLimits{.cpu_weight = static_cast<std::int32_t>(weight),
                       .cpu_limit_percent = static_cast<std::int32_t>(quota / 1000),
                       .memory_limit_mib = memory >> 20};
  }
  void wait_until_up(const GuestDefinition& guest, int times) override {
    const auto log = driver_->serial_console()->log_path(guest.uid).value();
    REQUIRE(eventually([&] { return contains(log, "REEVE-GUEST UP", times); }));
  }

 private:
  std::unique_ptr<Driver> driver_;
};

class CorePayloadBed final : public CoreBed {
 public:
  void furnish(GuestDefinition& guest) override { guest.kernel_path = kernel_.path(); }
  std::pair<std::string, std::string> exchange() override { return {"anything\n", "one-42"}; }
  bool eventually(const std::function<bool()>& holds) override { return poll_until(holds); }

 private:
  const core::test::PayloadKernel kernel_{core::test::kConsoleGuest};
};

/// The files lie where tools/lab/run --guest puts them.
class CoreLinuxBed final : public CoreBed {
 public:
  void furnish(GuestDefinition& guest) override {
    const auto disk = guest.run_dir + "/disk0.raw";
    std::ofstream(disk) << std::string(1u << 20, '\0');
    guest.disks = {{.id = "disk0", .path = disk, .format = DiskFormat::Raw}};
    guest.nics = {{.id = "nic0", .mac = "52:54:00:00:00:01"}};
    guest.kernel_path = "/lab/vmlinux";
    guest.initrd_path = "/lab/guest.cpio";
    guest.command_line = "console=ttyS0 quiet panic=-1 reeve.net=none";
  }
  bool eventually(const std::function<bool()>& holds) override { return poll_until(holds, 400s); }
  void check_goes_on(const GuestDefinition& guest) override {
    const auto log = driver().serial_console()->log_path(guest.uid).value();
    int beats = 0;
    while (contains(log, "REEVE-HEARTBEAT", beats + 1)) ++beats;
    CHECK(eventually([&] { return contains(log, "REEVE-HEARTBEAT", beats + 2); }));
    CHECK_FALSE(contains(log, "REEVE-GUEST UP", 2));
  }
};

}  // namespace

std::unique_ptr<DriverWorld> CorePayloadWorld::make() {
  return std::make_unique<CorePayloadBed>();
}
std::unique_ptr<DriverWorld> CoreLinuxWorld::make() {
  return std::make_unique<CoreLinuxBed>();
}

}  // namespace reeve::test
