// tests/hypervisor_core/lab/agent_driver.cpp - the agent's driver with a guest that runs
// qemu-guest-agent: addresses, a card through passt, the time after a standstill, orderly shutdown.
#include <chrono>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "agent/driver/core/driver.h"
#include "tests/hypervisor_core/lab/agent_wire.h"
#include "tests/hypervisor_core/lab/host_side.h"
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
  guest.initrd_path = with_probe("/lab/agent.cpio");
  guest.command_line = "console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=10.9.2.2/24";
  guest.nics.push_back({.id = "net", .mac = "52:54:00:0a:09:05", .bridge = "br0"});
  guest.nics.push_back({.id = "user", .mac = "52:54:00:0a:09:07"});  // through passt
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

/// A number in what the agent in the guest answers; -1 when there is none.
int number_in(const std::string& answer, const std::string& key) {
  const auto at = answer.find("\"" + key + "\":");
  return at == std::string::npos ? -1 : std::stoi(answer.substr(at + key.size() + 3));
}

/// Runs a command in the guest, through its agent; it must exit with 0. No quotes or backslashes.
void run_inside(const std::string& command, const std::string& what) {
  auto wire = wire_to(std::string(kFolder) + "/vmm");
  const auto ask = [&](const std::string& verb, const std::string& arguments) {
    return take(
        wire.exchange({.text = R"({"execute":")" + verb + R"(","arguments":{)" + arguments + "}}",
                       .timeout = 20s}),
        verb);
  };
  const auto begun = ask("guest-exec", R"("path":"/bin/sh","arg":["-c",")" + command + R"("])");
  const int pid = number_in(begun, "pid");
  require(pid > 0, "the guest's agent runs a command: " + begun);
  std::string told;
  for (int i = 0; i < 240 && told.find("\"exited\": true") == std::string::npos; ++i) {
    usleep(500'000);
    told = ask("guest-exec-status", "\"pid\":" + std::to_string(pid));
  }
  require(number_in(told, "exitcode") == 0, what + ": " + told);
}

/// As a guest's owner would: an address from passt, then the outside.
void check_user_network() {
  constexpr std::uint16_t kPort = 7008;
  static const Peer peer = Peer::at_port(kPort);
  run_inside("ip link set eth1 up && udhcpc -i eth1 -n -q -t 5 -T 3", "passt gives an address");
  run_inside("ip route | grep -q 'default via 10.0.2.2 dev eth1'", "and a route");
  run_inside("ping -c 2 10.0.2.2", "the outside answers");
  run_inside("probe receive 10.0.2.2 7008 1 && probe send 10.0.2.2 7008 1",
             "1 MiB goes each way as it was sent");
  require(peer.accepted() == 2, "over a connection each");
}

}  // namespace

void agent_driver() {
  shell("echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range");
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
    if (!driver->use().ok()) require(false, "its use");  // the rhythm in which guests are asked
    const auto seen = take(driver->get(kUid), "the guest");
    has_address = !seen.addresses.empty() && seen.addresses[0] == "10.9.2.2";
  }
  require(has_address, "the driver knows its address");
  check_user_network();
  run_inside("cp /proc/sys/kernel/random/boot_id /tmp/boot", "its boot has a name");
  check(driver->saved_state()->save(kUid, "/tmp/driven.state"), "it is saved");
  sleep(20);
  check(driver->saved_state()->restore(kUid, "/tmp/driven.state"), "it is restored");
  check(driver->resume(kUid), "and goes on");
  const auto error = guest_clock_error();
  std::printf("its clock is %lld s behind\n", static_cast<long long>(error.count()));
  require(std::chrono::abs(error) < 12s, "its clock was set after the standstill");
  run_inside("cmp /tmp/boot /proc/sys/kernel/random/boot_id", "it is the boot from before");
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
