// tests/hypervisor_core/lab/agent_in_guest.cpp - agent/guest against the real qemu-guest-agent of
// Debian in a guest on the core.
#include <chrono>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "agent/guest/guest_agent.h"
#include "tests/hypervisor_core/lab/agent_wire.h"
#include "tests/hypervisor_core/lab/host_side.h"
#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

namespace reeve::lab {
namespace {

using namespace core;
using namespace std::chrono_literals;

void check(const Status& outcome, const std::string& what) {
  require(outcome.ok(), outcome.ok() ? what : what + ": " + outcome.error().message());
}

void check_facts(agent::GuestAgent& guest, Machine& machine) {
  Status heard;
  for (int i = 0; i < 100; ++i, usleep(200'000)) {
    heard = guest.ping();
    if (heard.ok()) break;
  }
  check(heard, "the agent answers");
  require(!take(guest.version(), "version").empty(), "it has a version");
  const auto facts = take(guest.facts(), "facts");
  require(facts.kernel_release.starts_with("6.") && facts.machine == "x86_64" &&
              facts.host_name == "guest",
          "it knows kernel " + facts.kernel_release + ", host name " + facts.host_name);
  const auto nics = take(guest.nics(), "network cards");
  require(nics.size() == 1 && nics[0].mac == "52:54:00:0a:09:04" && !nics[0].addresses.empty() &&
              nics[0].addresses[0] == "10.9.1.2",
          "it knows its address");
  const auto past = std::chrono::system_clock::now() - 1000h;
  (void)guest.set_time(std::chrono::time_point_cast<std::chrono::microseconds>(past));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(past.time_since_epoch());
  machine.run("test $(($(date +%s) - " + std::to_string(seconds.count()) + ")) -lt 60");
}

/// A write in the guest that waits while its file system is frozen.
void begin_write(Machine& machine, const std::string& name) {
  machine.run("(echo x >/mnt/" + name + "; sync; touch /tmp/" + name + ") & true");
}
bool is_written(Machine& machine, const std::string& name) {
  return machine.run("test -e /tmp/" + name + " && echo written || true").starts_with("written");
}
void wait_written(Machine& machine, const std::string& name, const std::string& why) {
  for (int i = 0; i < 100 && !is_written(machine, name); ++i) usleep(200'000);
  require(is_written(machine, name), why);
}

/// Frozen as long as the result is there; a write named `name` waits.
AgentWire freeze(Machine& machine, const std::string& name) {
  auto wire = wire_to(machine.folder());
  take(wire.exchange(
           {.text = R"({"execute":"guest-fsfreeze-freeze"})", .timeout = 10s, .thaw_after = 600s}),
       "a freeze");
  begin_write(machine, name);
  sleep(1);
  require(!is_written(machine, name), "it is frozen");
  return wire;
}

void check_freeze(agent::GuestAgent& guest, Machine& machine) {
  check(guest.while_frozen(60s,
                           [&]() -> Status {
                             begin_write(machine, "during");
                             sleep(2);
                             require(!is_written(machine, "during"),
                                     "nothing is written meanwhile");
                             return {};
                           }),
        "file systems are frozen and thawed");
  wait_written(machine, "during", "it is written afterwards");
  const auto late = guest.while_frozen(3s, [&]() -> Status {
    begin_write(machine, "late");
    wait_written(machine, "late", "reeve-vmm thaws when the time is up");
    return {};
  });
  require(!late.ok() && late.error().reason() == "FREEZE_EXPIRED", "and that is told");
  { const auto lost = freeze(machine, "lost"); }
  wait_written(machine, "lost", "reeve-vmm thaws when the caller is gone");
}

}  // namespace

void guest_agent() {
  make_tap("tap1", "10.9.1.1/24");
  auto config = quick_guest(2);
  config.set_initrd_path("/lab/agent.cpio");
  config.set_command_line(
      "console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=10.9.1.2/24 reeve.mount=/dev/vda");
  config.set_guest_agent(true);
  add_disk(config, "frozen", 32);
  shell("/lab/mke2fs -q -t ext4 /tmp/frozen.raw");
  auto& nic = *config.add_nics();
  nic.set_id("net");
  nic.set_mac("52:54:00:0a:09:04");
  nic.set_tap_name("tap1");
  Machine machine("agent", config);
  machine.wait_until_up();
  auto wire = wire_to(machine.folder());
  agent::GuestAgent guest(wire);
  guest.set_timeout(20s);
  check_facts(guest, machine);
  check_freeze(guest, machine);
  std::filesystem::path state;
  {
    const auto frozen = freeze(machine, "moved");
    state = machine.save();
  }
  Machine moved("agent-moved", config, state);
  wait_written(moved, "moved", "saved while frozen, it is thawed where it goes on");
  auto wire_there = wire_to(moved.folder());
  agent::GuestAgent guest_there(wire_there);
  guest_there.set_timeout(20s);
  check(guest_there.shutdown(agent::GuestAgent::Shutdown::PowerOff), "it is asked to shut down");
  require(moved.ended().kind() == v1::ExitReport::KIND_GUEST_POWER_OFF, "and does");
}

}  // namespace reeve::lab
