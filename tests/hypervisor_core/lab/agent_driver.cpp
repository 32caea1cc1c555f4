// tests/hypervisor_core/lab/agent_driver.cpp - the agent's driver with a guest that runs
// qemu-guest-agent: addresses, the time after a standstill, orderly shutdown.
#include <chrono>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "agent/driver/core/driver.h"
#include "tests/hypervisor_core/lab/agent_wire.h"
#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

namespace reeve::lab {
namespace {

using namespace std::chrono_literals;

constexpr const char* kUid = "6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e";
constexpr const char* kFolder = "/tmp/driven";

agent::GuestDefinition definition() {
  agent::GuestDefinition guest;
  guest.uid = kUid;
  guest.display_name = "driven";
  guest.memory_mib = 192;
  guest.kernel_path = "/lab/vmlinux";
  guest.initrd_path = "/lab/agent.cpio";
  guest.command_line = "console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=10.9.2.2/24";
  guest.nics.push_back({.id = "net", .mac = "52:54:00:0a:09:05", .bridge = "br0"});
  guest.guest_agent = true;
  guest.run_dir = kFolder;
  return guest;
}

void check(const Status& outcome, const std::string& what) {
  require(outcome.ok(), outcome.ok() ? what : what + ": " + outcome.error().message());
}

/// How far the guest's clock is from ours.
std::chrono::seconds guest_clock_error() {
  auto wire = wire_to(std::string(kFolder) + "/vmm");
  agent::GuestAgent guest(wire);
  guest.set_timeout(20s);
  const auto told = take(guest.time(), "the guest's time");
  return std::chrono::duration_cast<std::chrono::seconds>(RealClock::instance().wall() - told);
}

}  // namespace

void agent_driver() {
  shell("brctl addbr br0 && ip addr add 10.9.2.1/24 dev br0 && ip link set br0 up");
  std::filesystem::create_directories(kFolder);
  using agent::core_driver::CoreDriver;
  const auto driver = take(CoreDriver::create({.records = "/tmp/records",
                                               .program = "/lab/reeve-vmm",
                                               .boot_id = "lab",
                                               .usable = true},
                                              RealClock::instance()),
                           "the driver");
  require(driver->define(definition()).ok(), "the guest is defined");
  check(driver->start(kUid), "it starts");
  bool has_address = false;
  for (int i = 0; i < 240 && !has_address; ++i, usleep(500'000)) {
    require(driver->use().ok(), "its use");  // the rhythm in which guests are asked
    const auto seen = take(driver->get(kUid), "the guest");
    has_address = !seen.addresses.empty() && seen.addresses[0] == "10.9.2.2";
  }
  require(has_address, "the driver knows its address");
  check(driver->saved_state()->save(kUid, "/tmp/driven.state"), "it is saved");
  sleep(20);
  check(driver->saved_state()->restore(kUid, "/tmp/driven.state"), "it is restored");
  check(driver->resume(kUid), "and goes on");
  const auto error = guest_clock_error();
  std::printf("its clock is %lld s behind\n", static_cast<long long>(error.count()));
  require(error < 12s, "its clock was set after the standstill");
  check(driver->request_shutdown(kUid), "it is asked to shut down");
  agent::GuestSeen seen;
  for (int i = 0; i < 240; ++i, usleep(500'000)) {
    seen = take(driver->get(kUid), "the guest");
    if (seen.state == agent::GuestState::Stopped) break;
  }
  require(seen.state == agent::GuestState::Stopped, "and is off: " + seen.state_reason);
  check(driver->undefine(kUid), "it is gone");
}

}  // namespace reeve::lab
