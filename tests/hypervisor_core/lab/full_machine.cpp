// tests/hypervisor_core/lab/full_machine.cpp - one guest with every device: each is used, then the
// machine moves to another process with everything open.
#include <cmath>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "tests/hypervisor_core/lab/host_side.h"
#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"
#include "tests/hypervisor_core/lab/traffic.h"

namespace reeve::lab {
namespace {

using namespace core;
using namespace std::chrono_literals;

constexpr std::uint16_t kPeerPort = 7000;

/// A machine's socket for vsock lies in its folder; programs there are what its guest reaches.
std::string vsock_path(const std::string& machine) {
  return "/tmp/" + machine + "/vsock";
}

v1::MachineConfig full_config() {
  auto config = quick_guest(2);
  config.set_command_line("console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=10.9.0.2/24");
  config.set_rng(true);
  config.set_balloon(true);
  config.set_guest_agent(true);
  config.set_vsock_cid(42);
  config.set_vsock_path(vsock_path("first"));
  add_disk(config, "first", 64);
  add_disk(config, "second", 32);
  auto& nic = *config.add_nics();
  nic.set_id("net");
  nic.set_mac("52:54:00:0a:09:02");
  nic.set_tap_name("tap0");
  return config;
}

void check_board(Machine& machine) {
  machine.run("test $(nproc) = 2");
  machine.run("test $(grep -cw tsc_deadline_timer /proc/cpuinfo) = 2");
  machine.run("dmesg | grep -q 'ACPI: Interpreter enabled' && dmesg | grep -q 'ACPI: DSDT 0x'");
  const auto complaints = machine.run(std::string("dmesg | grep -iE '") + kComplaints + "' | cat");
  require(complaints.empty(), "the kernel has no complaint: " + complaints);
  machine.run("test $(cat /sys/class/dmi/id/product_uuid) = 6f2b1c1e-0f5d-4a58-9d3c-0b9a3a6c1d2e");
  machine.run(
      "test $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource) = kvm-clock");
  machine.run(
      "test $(cat /sys/class/misc/hw_random/rng_current | cut -c1-10) = virtio_rng && probe "
      "entropy");
}

/// The tables as the guest has them, read back by ACPI's own compiler.
void check_tables(Machine& machine) {
  for (const char* table : {"DSDT", "FACP", "FACS", "APIC", "MCFG"}) {
    const auto hex =
        machine.run(std::string("hexdump -v -e '1/1 \"%02x\"' /sys/firmware/acpi/tables/") + table);
    const std::string file = std::string("/tmp/") + table;
    shell("echo '" + hex.substr(0, hex.find('\n')) + "' | xxd -r -p >" + file + ".dat && iasl -d " +
          file + ".dat >/tmp/iasl 2>&1 && ! grep -iE 'error|warning' /tmp/iasl");
    require(std::filesystem::exists(file + ".dsl"), std::string("iasl reads ") + table);
  }
}

void check_disks(Machine& machine) {
  machine.run(
      "test $(cat /sys/block/vda/serial) = lab-first -a $(cat /sys/block/vdb/serial) = lab-second");
  // Several at a time on the first: its queues hold more than one request.
  machine.run(
      "all=; for i in 0 1 2 3; do probe disk /dev/vda $((10 + i)) 200 $((16 * i)) 16 & "
      "all=\"$all $!\"; done; probe disk /dev/vdb 2 800 & all=\"$all $!\"; "
      "for p in $all; do wait $p || exit 1; done");
  const auto before = std::stoull(shell("stat -c %b /tmp/first.raw"));
  machine.run("blkdiscard /dev/vda");
  require(std::stoull(shell("stat -c %b /tmp/first.raw")) < before / 4,
          "discarded space is given back to the host");
  const auto disk = machine.status().disks(0);
  require(disk.writes() > 100 && disk.reads() > 100 && disk.errors() == 0, "requests are counted");
}

void check_network(Machine& machine) {
  machine.run("ping -c 3 -i 0.2 10.9.0.1");
  shell("ping -c 3 10.9.0.2");
  std::printf("to the host: %s", machine.run("probe send 10.9.0.1 7000 8").c_str());
  std::printf("to the guest: %s", machine.run("probe receive 10.9.0.1 7000 8").c_str());
}

void check_vsock(Machine& machine) {
  machine.run("probe vsock-send 7100 512 && probe vsock-receive 7100 512");
  machine.type("probe vsock-serve 7200\n");
  machine.expect("listening");
  const auto to_guest = connect_vsock(vsock_path("first"), 7200);
  require(send_bulk(to_guest.get(), 512 << 10), "the guest takes what the host sends over vsock");
  machine.expect("REEVE-DONE 0");
}

void check_balloon(Machine& machine) {
  const auto wait_for = [&](std::uint64_t mib) {
    for (int i = 0; i < 300 && machine.status().balloon_mib() != mib; ++i) usleep(400'000);
    require(machine.status().balloon_mib() == mib, "the balloon holds " + std::to_string(mib));
  };
  machine.run("dd if=/dev/zero of=/tmp/filled bs=1M count=64 2>/dev/null; rm /tmp/filled");
  const auto before = machine.memory_kib("RssShmem");
  machine.call([](auto& r) { r.mutable_set_balloon()->set_inflate_mib(64); });
  wait_for(64);
  const auto inflated = machine.memory_kib("RssShmem");
  std::printf("resident %ju KiB, inflated %ju KiB\n", before, inflated);
  require(inflated + (32 << 10) < before, "the host has its memory back");
  for (int i = 0; i < 50 && machine.status().balloon().reports() == 0; ++i) usleep(100'000);
  const auto told = machine.status().balloon();
  require(told.total_bytes() > (100 << 20) && told.free_bytes() > 0 &&
              told.free_bytes() < told.total_bytes(),
          "the guest tells how much memory is free");
  machine.call([](auto& r) { r.mutable_set_balloon()->set_inflate_mib(0); });
  wait_for(0);
}

double uptime(Machine& machine) {
  return std::stod(machine.run("cut -d' ' -f1 /proc/uptime"));
}

void check_pauses(Machine& machine) {
  constexpr double kLongPause = 4;
  machine.run("probe clock 600 >/tmp/clock & true");
  const double guest_begin = uptime(machine);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    machine.pause();
    if (i == 50) usleep(static_cast<useconds_t>(kLongPause * 1e6));
    machine.resume();
  }
  const std::chrono::duration<double> host = std::chrono::steady_clock::now() - begin;
  const double guest = uptime(machine) - guest_begin;
  std::printf("100 pauses: %.2f s on the host, %.2f s in the guest\n", host.count(), guest);
  require(std::abs(guest - host.count()) < 1.5, "the guest's clock kept up");
  machine.run("pidof probe && test ! -s /tmp/clock && killall probe");
  const auto told = machine.run("while pidof probe >/dev/null; do sleep 0.1; done; cat /tmp/clock");
  const std::string gap = "longest gap ";
  require(told.starts_with(gap) && std::stod(told.substr(gap.size())) > kLongPause - 0.1,
          "the guest stood still while it was paused: " + told);
}

void leave_things_open(Machine& machine) {
  machine.run("probe count 10.9.0.1 7000 /tmp/count >/tmp/count-end 2>&1 & true");
  machine.run("mke2fs -q /dev/vdb && mkdir -p /data && mount /dev/vdb /data");
  machine.run("echo kept >/data/kept; echo open >/data/gone");
  machine.run(
      "(exec 4>/data/late 5</data/gone; rm /data/gone; sleep 12; cat <&5 >&4; cut -d' ' -f1 "
      "/proc/uptime >/tmp/timer) & cut -d' ' -f1 /proc/uptime >/tmp/timer-set");
  machine.run("while ! test -s /tmp/count; do sleep 0.1; done");
}

void check_things_still_open(Machine& machine) {
  const int count = std::stoi(machine.run("cat /tmp/count"));
  machine.run("while test $(cat /tmp/count) -le " + std::to_string(count + 3) +
              "; do sleep 0.2; done; test ! -s /tmp/count-end");
  machine.run("while ! test -s /tmp/timer; do sleep 0.2; done; test $(cat /data/late) = open");
  const double slept =
      std::stod(machine.run("cat /tmp/timer")) - std::stod(machine.run("cat /tmp/timer-set"));
  std::printf("a timer of 12 s fired after %.2f s of the guest's time\n", slept);
  require(slept > 11.9 && slept < 90, "the guest's timers went on where they were");
  machine.run("test $(cat /data/kept) = kept && umount /data");
  machine.run("probe disk /dev/vda 3 100 && ping -c 1 10.9.0.1 && probe entropy");
  machine.run("probe vsock-send 7100 64");
}

}  // namespace

void full_machine() {
  make_tap("tap0", "10.9.0.1/24");
  const Peer peer = Peer::at_port(kPeerPort);
  const Peer first_vsock = Peer::at_path(vsock_path("first") + "_7100");
  const Peer second_vsock = Peer::at_path(vsock_path("second") + "_7100");
  auto config = full_config();
  Machine first("first", config);
  first.wait_until_up();
  check_board(first);
  check_tables(first);
  check_disks(first);
  check_network(first);
  check_vsock(first);
  check_balloon(first);
  check_pauses(first);
  leave_things_open(first);
  const int connections = peer.accepted();
  const auto state = first.save();
  config.set_vsock_path(vsock_path("second"));
  Machine second("second", config, state);
  const auto to_read = second.status().memory_to_read_bytes();
  require(to_read > 0, "it runs before its memory is read; " + std::to_string(to_read) + " to go");
  check_things_still_open(second);
  require(peer.accepted() == connections, "the TCP connection is the one from before");
  second.power_off();
}

}  // namespace reeve::lab
