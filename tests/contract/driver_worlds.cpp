#include "tests/contract/driver_worlds.h"

#include <algorithm>
#include <fstream>
#include <thread>

#include <catch2/catch.hpp>

#include "agent/driver/core/driver.h"
#include "agent/driver/libvirt/driver.h"
#include "agent/driver/sim/driver.h"
#include "base/file.h"
#include "base/sim_loop.h"
#include "base/subprocess.h"
#include "base/unix_socket.h"
#include "base/uuid.h"
#include "tests/hypervisor_core/support/console_guest.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/support/guest_files.h"
#include "tests/support/libvirtd.h"

namespace reeve::test {

using namespace reeve::agent;
using namespace std::chrono_literals;

namespace {

bool poll_until(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + 150s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

class SimBed final : public DriverWorld {
 public:
  Driver& driver() override { return *driver_; }
  bool restart_driver() override {
    driver_.reset();
    driver_ = std::make_unique<SimDriver>(hypervisor_);
    return true;
  }
  void furnish(GuestDefinition& /*guest*/) override {}
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

class CorePayloadBed final : private TempDir, public DriverWorld {
 public:
  CorePayloadBed() { restart_driver(); }
  ~CorePayloadBed() override {
    const auto left = driver_->list();
    for (const auto& guest : left.ok() ? left.value() : std::vector<GuestSeen>{})
      (void)driver_->power_off(guest.uid);
  }
  Driver& driver() override { return *driver_; }
  bool restart_driver() override {
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
  void furnish(GuestDefinition& guest) override { guest.kernel_path = kernel_.path(); }
  void wait_until_up(const GuestDefinition& guest, int times) override {
    const auto log = driver_->serial_console()->log_path(guest.uid).value();
    REQUIRE(poll_until([&] { return contains(log, "REEVE-GUEST UP", times); }));
  }
  std::pair<std::string, std::string> exchange() override { return {"anything\n", "one-42"}; }
  bool eventually(const std::function<bool()>& holds) override { return poll_until(holds); }

 private:
  const core::test::PayloadKernel kernel_{core::test::kConsoleGuest};
  std::unique_ptr<Driver> driver_;
};

}  // namespace

Fd connect_to(const std::string& socket_path) {
  auto socket = connect_unix(socket_path, SocketWaits::Yes);
  REQUIRE(socket.ok());
  return std::move(socket).value();
}

bool contains(const std::string& file, std::string_view text, int times) {
  const auto content = read_file(file);
  if (!content.ok()) return false;
  int found = 0;
  for (auto at = content.value().find(text); at != std::string::npos;
       at = content.value().find(text, at + 1))
    ++found;
  return found >= times;
}

GuestDefinition DriverWorld::guest(const std::string& name) {
  GuestDefinition guest{
      .uid = new_uuid(random_), .display_name = name, .cpus = 1, .memory_mib = 128};
  guest.run_dir = dir_ / guest.uid.substr(0, 8);
  REQUIRE(make_dirs(guest.run_dir).ok());
  furnish(guest);
  return guest;
}

bool DriverWorld::can(const std::string& capability) {
  const auto facts = driver().facts();
  return std::find(facts.capabilities.begin(), facts.capabilities.end(), capability) !=
         facts.capabilities.end();
}

GuestState DriverWorld::state(const std::string& uid) {
  const auto seen = driver().get(uid);
  INFO((seen.ok() ? "" : seen.error().message()));
  REQUIRE(seen.ok());
  return seen.value().state;
}

bool DriverWorld::becomes(const std::string& uid, GuestState wanted) {
  return eventually([&] { return state(uid) == wanted; });
}

std::function<void(std::string)> Heard::listener() {
  return [this](std::string uid) {
    std::scoped_lock lock(mutex_);
    uids_.push_back(std::move(uid));
  };
}
bool Heard::has(const std::string& uid) const {
  std::scoped_lock lock(mutex_);
  return std::find(uids_.begin(), uids_.end(), uid) != uids_.end();
}
std::vector<std::string> Heard::all() const {
  std::scoped_lock lock(mutex_);
  return uids_;
}
void Heard::clear() {
  std::scoped_lock lock(mutex_);
  uids_.clear();
}

std::unique_ptr<DriverWorld> SimWorldOfDrivers::make() {
  return std::make_unique<SimBed>();
}
std::unique_ptr<DriverWorld> LibvirtTestWorld::make() {
  return std::make_unique<LibvirtTestBed>();
}
std::unique_ptr<DriverWorld> CorePayloadWorld::make() {
  return std::make_unique<CorePayloadBed>();
}
std::unique_ptr<DriverWorld> LibvirtQemuWorld::make() {
  return std::make_unique<LibvirtQemuBed>();
}

}  // namespace reeve::test
