// tests/agent/driver/libvirt_system_test.cpp - the libvirt driver against a real libvirtd that
// crashes, hangs and is used by others, with QEMU guests running through it all.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>
#include <unistd.h>

#include "agent/driver/libvirt/driver.h"
#include "base/file.h"
#include "tests/support/guest_files.h"
#include "tests/support/libvirtd.h"

using namespace reeve;
using namespace reeve::agent;
using namespace std::chrono_literals;
using agent::libvirt::LibvirtDriver;
using agent::libvirt::LibvirtOptions;

namespace {

const std::string kWeb = "11111111-2222-4333-8444-555555555555";
const std::string kMail = "22222222-2222-4333-8444-555555555555";

bool eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + 150s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

/// A libvirtd, its driver and what the driver said.
struct Bed {
  explicit Bed(LibvirtOptions options = {}, test::Libvirtd::Kvm kvm = test::Libvirtd::Kvm::Hidden,
               test::Libvirtd::Groups groups = test::Libvirtd::Groups::None)
      : daemon(test::Libvirtd::Network::Shared, kvm, groups) {
    options.uri = daemon.uri();
    options.confine = false;
    options.first_attempt = 30s;
    options.connection.first_retry = 100ms;
    options.connection.longest_retry = 500ms;
    driver =
        std::move(LibvirtDriver::create(options, RealClock::instance(), SystemRandom::instance()))
            .value();
    REQUIRE(driver->facts().available);
    driver->watch([this](std::string uid) {
      std::scoped_lock lock(mutex);
      heard.push_back(std::move(uid));
    });
  }
  ~Bed() { driver->watch(nullptr); }

  bool hears(const std::string& uid) {
    return eventually([&] {
      std::scoped_lock lock(mutex);
      return std::find(heard.begin(), heard.end(), uid) != heard.end();
    });
  }
  void forget() {
    std::scoped_lock lock(mutex);
    heard.clear();
  }
  /// A guest without anything to boot: its firmware looks for a disk for ever.
  GuestDefinition guest(const std::string& uid, const std::string& name) {
    GuestDefinition guest{.uid = uid, .display_name = name, .cpus = 1, .memory_mib = 64};
    guest.run_dir = dir / name;
    REQUIRE(make_dirs(guest.run_dir).ok());
    return guest;
  }
  void run(const GuestDefinition& guest) {
    const auto defined = driver->define(guest);
    INFO((defined.ok() ? "" : defined.error().message()));
    REQUIRE(defined.ok());
    REQUIRE(driver->start(guest.uid).ok());
  }
  std::string virsh(const std::vector<std::string>& arguments) const {
    const auto finished = daemon.virsh(arguments);
    INFO(finished.errors);
    REQUIRE(finished.exit_code == 0);
    return finished.output;
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(dir / name) << text;
    return dir / name;
  }

  test::TempDir dir;
  test::Libvirtd daemon;
  std::mutex mutex;
  std::vector<std::string> heard;
  std::unique_ptr<LibvirtDriver> driver;
};

}  // namespace

TEST_CASE("guests and their driver live through a crash of libvirtd", "[libvirt][root]") {
  Bed bed;
  bed.run(bed.guest(kWeb, "web"));
  bed.run(bed.guest(kMail, "mail"));
  const auto before = bed.driver->get(kWeb).value();
  bed.daemon.kill();
  REQUIRE(eventually([&] { return !bed.driver->facts().available; }));
  CHECK(bed.driver->list().error().reason() == "HYPERVISOR_DOWN");
  CHECK_FALSE(bed.driver->facts().description.empty());
  bed.forget();
  bed.daemon.bring_up();
  REQUIRE(bed.hears(""));
  CHECK(bed.driver->facts().available);
  CHECK(bed.driver->facts().description.empty());
  const auto list = bed.driver->list().value();
  CHECK(list.size() == 2);
  CHECK(std::all_of(list.begin(), list.end(),
                    [](const auto& guest) { return guest.state == GuestState::Running; }));
  CHECK(bed.driver->get(kWeb).value().start_time == before.start_time);
  bed.forget();
  REQUIRE(bed.driver->power_off(kWeb).ok());
  CHECK(bed.hears(kWeb));  // events were registered anew
}

TEST_CASE("a libvirtd that hangs makes calls busy in time, and its return is noticed",
          "[libvirt][root]") {
  LibvirtOptions options;
  options.read_deadline = 500ms;
  options.change_deadline = 500ms;
  Bed bed(options);
  const auto guest = bed.guest(kWeb, "web");
  REQUIRE(eventually([&] { return bed.driver->define(guest).ok(); }));
  bed.daemon.freeze();
  const auto begin = std::chrono::steady_clock::now();
  const auto busy = bed.driver->get(kWeb);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  CHECK(busy.error().reason() == "HYPERVISOR_BUSY");
  CHECK_FALSE(bed.driver->facts().warnings.empty());
  for (int i = 0; i < 20; ++i) {  // more than there are threads: none may wait for ever
    const auto again = bed.driver->get(kWeb);
    CHECK(again.error().reason() == "HYPERVISOR_BUSY");
  }
  bed.daemon.thaw();
  CHECK(eventually([&] { return bed.driver->get(kWeb).ok(); }));
}

TEST_CASE("what others do to guests is heard and seen", "[libvirt][root]") {
  Bed bed;
  const auto file =
      bed.write("theirs.xml", "<domain type='qemu'><name>theirs</name><uuid>" + kMail +
                                  "</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type "
                                  "arch='x86_64' machine='q35'>hvm</type></os></domain>");
  bed.virsh({"define", file});
  CHECK(bed.hears(kMail));
  CHECK_FALSE(bed.driver->get(kMail).value().managed);
  bed.run(bed.guest(kWeb, "web"));
  bed.forget();
  bed.virsh({"destroy", "web"});
  CHECK(bed.hears(kWeb));
  CHECK(bed.driver->get(kWeb).value().state == GuestState::Stopped);
  bed.virsh({"undefine", "web"});
  CHECK(eventually([&] { return bed.driver->get(kWeb).error().reason() == "GUEST_NOT_FOUND"; }));
}

TEST_CASE("changing a guest keeps the parts that QEMU users add by hand", "[libvirt][root]") {
  Bed bed;
  auto guest = bed.guest(kWeb, "web");
  guest.guest_agent = true;
  guest.nics = {{.id = "nic0", .mac = "52:54:00:00:00:01"}};
  REQUIRE(bed.driver->define(guest).ok());
  auto xml = bed.virsh({"dumpxml", "--inactive", "web"});
  xml.replace(xml.find("<domain type='qemu'"), 19,
              "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'");
  xml.insert(xml.find("</devices>"), "<watchdog model='i6300esb' action='reset'/>");
  xml.insert(xml.find("</domain>"),
             "<qemu:commandline><qemu:env name='THEIRS' value='1'/></qemu:commandline>");
  bed.virsh({"define", bed.write("edited.xml", xml)});
  guest.cpus = 2;
  guest.nics.clear();
  const auto defined = bed.driver->define(guest);
  INFO((defined.ok() ? "" : defined.error().message()));
  REQUIRE(defined.ok());
  const auto after = bed.virsh({"dumpxml", "--inactive", "web"});
  CHECK(after.find("THEIRS") != std::string::npos);
  CHECK(after.find("i6300esb") != std::string::npos);
  CHECK(after.find("52:54:00:00:00:01") == std::string::npos);
  CHECK(after.find(">2</vcpu>") != std::string::npos);
}

TEST_CASE("a guest goes with its managed save, and never with its disk", "[libvirt][root]") {
  Bed bed;
  auto guest = bed.guest(kWeb, "web");
  const auto disk = bed.write("disk.raw", std::string(1u << 20, '\0'));
  guest.disks = {{.id = "disk0", .path = disk, .format = DiskFormat::Raw}};
  bed.run(guest);
  CHECK(bed.virsh({"dumpxml", "web"}).find("<serial>disk0</serial>") != std::string::npos);
  bed.virsh({"managedsave", "web"});
  CHECK(bed.driver->get(kWeb).value().state_reason == "saved");
  const auto gone = bed.driver->undefine(kWeb);
  INFO((gone.ok() ? "" : gone.error().message()));
  CHECK(gone.ok());
  CHECK(std::filesystem::exists(disk));
  CHECK(bed.driver->list().value().empty());
}

TEST_CASE("what QEMU cannot start is refused with its own words", "[libvirt][root]") {
  Bed bed;
  auto guest = bed.guest(kWeb, "web");
  guest.disks = {{.id = "disk0", .path = bed.dir / "absent.raw", .format = DiskFormat::Raw}};
  REQUIRE(bed.driver->define(guest).ok());
  const auto started = bed.driver->start(kWeb);
  REQUIRE_FALSE(started.ok());
  INFO(started.error().message());
  CHECK(started.error().message().find("absent.raw") != std::string::npos);
  CHECK(bed.driver->get(kWeb).value().state == GuestState::Stopped);
}

TEST_CASE("a change that makes no event is seen by a look, and by a later list",
          "[libvirt][root]") {
  LibvirtOptions options;
  options.keep_definitions = 1ms;
  Bed bed(options);
  auto guest = bed.guest(kWeb, "web");
  guest.cpus = 2;
  bed.run(guest);
  CHECK(bed.driver->list().value().at(0).pending_restart.empty());
  bed.virsh({"setvcpus", "web", "1", "--config"});
  const std::vector<std::string> pending{"spec.cpus"};
  CHECK(bed.driver->get(kWeb).value().pending_restart == pending);
  CHECK(eventually([&] { return bed.driver->list().value().at(0).pending_restart == pending; }));
}

TEST_CASE("a guest agent tells addresses and is asked to shut down", "[libvirt][root]") {
  Bed bed;
  auto guest = bed.guest(kWeb, "web");
  guest.memory_mib = 192;
  guest.guest_agent = true;
  guest.nics = {{.id = "nic0", .mac = "52:54:00:00:00:01"}};
  const auto files = test::agent_guest();
  guest.kernel_path = files.kernel;
  guest.initrd_path = files.initramfs;
  guest.command_line = "console=ttyS0 quiet panic=-1";
  bed.run(guest);
  const auto has_address = [&] {
    if (!bed.driver->use().ok()) return false;  // the rhythm in which guests are asked
    const auto addresses = bed.driver->get(kWeb).value().addresses;
    return std::find(addresses.begin(), addresses.end(), "10.0.2.15") != addresses.end();
  };
  CHECK(eventually(has_address));
  const auto told = bed.driver->get(kWeb).value().guest.value();
  REQUIRE(told.nics.size() == 1);
  CHECK(told.nics[0].mac == "52:54:00:00:00:01");
  CHECK_FALSE(told.kernel_release.empty());
  CHECK(bed.driver->use().value().at(0).guest_answer.has_value());
  const auto listed = bed.driver->list().value().at(0).addresses;
  CHECK(std::find(listed.begin(), listed.end(), "10.0.2.15") != listed.end());
  REQUIRE(bed.driver->request_shutdown(kWeb).ok());
  CHECK(eventually([&] { return bed.driver->get(kWeb).value().state == GuestState::Stopped; }));
  CHECK(bed.driver->get(kWeb).value().addresses.empty());
  CHECK_FALSE(bed.driver->get(kWeb).value().guest.has_value());
}

TEST_CASE("limits hold in a running guest at once, and in its definition", "[libvirt][root]") {
  if (!std::filesystem::exists("/sys/fs/cgroup/cpu/cpu.shares")) {
    WARN("skipped: no control groups of version 1");
    return;
  }
  Bed bed({}, test::Libvirtd::Kvm::Hidden, test::Libvirtd::Groups::Version1);
  const std::string name = "limits-" + std::to_string(::getpid());
  auto guest = bed.guest(kWeb, name);
  bed.run(guest);
  const auto shows = [&](const std::string& what, const std::string& text) {
    const auto shown =
        bed.virsh({what, name, "--live"}) + bed.virsh({"dumpxml", name, "--inactive"});
    INFO(shown);
    return shown.find(text) != std::string::npos;
  };
  const auto define = [&](const GuestLimits& limits) {
    guest.limits = limits;
    const auto defined = bed.driver->define(guest);
    INFO((defined.ok() ? "" : defined.error().message()));
    REQUIRE(defined.ok());
    CHECK(defined.value().empty());
  };
  define({.cpu_weight = 300, .cpu_limit_percent = 50, .memory_limit_mib = 512});
  CHECK(shows("schedinfo", "cpu_shares     : 3072"));
  CHECK(shows("schedinfo", "global_quota   : 50000"));
  CHECK(shows("memtune", "hard_limit     : 524288"));
  CHECK(shows("schedinfo", "<shares>3072</shares>"));
  CHECK(shows("memtune", "<hard_limit unit='KiB'>524288</hard_limit>"));
  // What others set stays; what is the default again goes.
  bed.virsh({"schedinfo", name, "--config", "--set", "vcpu_period=90000"});
  define({.cpu_limit_percent = 50});
  CHECK(shows("schedinfo", "cpu_shares     : 1024"));
  CHECK(shows("schedinfo", "global_quota   : 50000"));
  CHECK(shows("memtune", "hard_limit     : unlimited"));
  CHECK_FALSE(shows("schedinfo", "<shares>"));
  CHECK_FALSE(shows("memtune", "hard_limit unit"));
  CHECK(shows("schedinfo", "<period>90000</period>"));
  define({});
  CHECK(shows("schedinfo", "global_quota   : -1"));
  CHECK_FALSE(shows("schedinfo", "<global_quota>"));
  REQUIRE(bed.driver->power_off(kWeb).ok());
  define({.cpu_weight = 10});
  REQUIRE(bed.driver->start(kWeb).ok());
  CHECK(shows("schedinfo", "cpu_shares     : 102"));
  CHECK(bed.driver->facts().warnings.size() == 1);  // software emulation
}

TEST_CASE("a libvirt that cannot limit guests refuses, or says so", "[libvirt][root]") {
  Bed bed;
  auto guest = bed.guest(kWeb, "web");
  bed.run(guest);
  guest.limits = {.cpu_weight = 300};
  const auto refused = bed.driver->define(guest);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason() == "LIMITS_UNAVAILABLE");
  CHECK(refused.error().message().find("cgroup") != std::string::npos);
  CHECK(bed.virsh({"dumpxml", "web", "--inactive"}).find("<shares>") == std::string::npos);
  REQUIRE(bed.driver->power_off(kWeb).ok());
  REQUIRE(bed.driver->define(guest).ok());
  REQUIRE(bed.driver->start(kWeb).ok());
  const auto warnings = bed.driver->facts().warnings;
  CHECK(std::any_of(warnings.begin(), warnings.end(), [](const std::string& warning) {
    return warning.find("without the limits") != std::string::npos;
  }));
}

TEST_CASE("a /dev/kvm that runs nothing is noticed by how libvirt suffers, and the remedy said",
          "[libvirt][root]") {
  const auto slow = [](Bed& bed) {
    const auto warnings = bed.driver->facts().warnings;
    return std::any_of(warnings.begin(), warnings.end(), [](const std::string& warning) {
      return warning.find("hide /dev/kvm") != std::string::npos;
    });
  };
  Bed broken({}, test::Libvirtd::Kvm::Broken);
  CHECK(eventually([&] { return slow(broken); }));
  Bed sound;
  REQUIRE(sound.driver->define(sound.guest(kWeb, "web")).ok());
  CHECK_FALSE(slow(sound));
}
