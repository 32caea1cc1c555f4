// tests/hypervisor_core/lab/resources.cpp - what a guest takes from its host, and gives back.
#include <chrono>
#include <cstdio>

#include <unistd.h>

#include "tests/hypervisor_core/lab/host_side.h"
#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

namespace reeve::lab {

using namespace core;

void memory_pressure() {
  auto config = quick_guest(1);
  config.set_balloon(true);
  Machine machine("pressure", config);
  machine.wait_until_up();
  machine.run("dd if=/dev/zero of=/tmp/filled bs=1M count=64 2>/dev/null");
  const auto filled = machine.memory_kib("RssShmem");
  machine.run("rm /tmp/filled");
  auto left = filled;
  for (int i = 0; i < 300 && left + (48 << 10) > filled; ++i, usleep(200'000))
    left = machine.memory_kib("RssShmem");
  std::printf("filled %ju KiB, freed %ju KiB\n", filled, left);
  require(left + (48 << 10) <= filled, "what the guest frees leaves the host unasked");

  constexpr std::uint32_t kInflated = 96;
  machine.call([](auto& r) { r.mutable_set_balloon()->set_inflate_mib(kInflated); });
  for (int i = 0; i < 300 && machine.status().balloon_mib() < kInflated; ++i) usleep(200'000);
  require(machine.status().balloon_mib() == kInflated, "the balloon is inflated");
  machine.run("dd if=/dev/zero of=/tmp/more bs=1M count=64 2>/dev/null");
  machine.run("test $(stat -c %s /tmp/more) = 67108864 && ! dmesg | grep -i 'killed process'");
  const auto now = machine.status().balloon_mib();
  std::printf("the balloon holds %u MiB\n", static_cast<unsigned>(now));
  require(now < kInflated, "it gives way before the guest runs out of memory");
  machine.power_off();
}

void large_frames() {
  make_tap("tap5", "10.9.5.1/24");
  const Peer peer = Peer::at_port(7005);
  auto config = quick_guest(1);
  config.set_command_line("console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=10.9.5.2/24");
  auto& nic = *config.add_nics();
  nic.set_id("net");
  nic.set_mac("52:54:00:0a:09:08");
  nic.set_tap_name("tap5");
  Machine machine("frames", config);
  machine.wait_until_up();
  machine.run("probe send 10.9.5.1 7005 4");
  const auto sent = machine.status().nics(0);
  machine.run("probe receive 10.9.5.1 7005 4");
  const auto received = machine.status().nics(0);
  // Frames on a wire have 1514 bytes at most.
  const auto out = sent.sent_bytes() / sent.sent_frames();
  const auto in = (received.received_bytes() - sent.received_bytes()) /
                  (received.received_frames() - sent.received_frames());
  std::printf("bytes in a frame: %ju from the guest, %ju to it\n", out, in);
  require(out > 1514, "the guest leaves cutting to the host");
  require(in > 1514, "the host does not cut for the guest");
  machine.power_off();
}

void disk_limits() {
  auto config = quick_guest(1);
  add_disk(config, "bytes", 32);
  config.mutable_disks(0)->set_limit_bytes_per_second(2 << 20);
  add_disk(config, "requests", 32);
  config.mutable_disks(1)->set_limit_requests_per_second(20);
  Machine machine("limits", config);
  machine.wait_until_up();
  const auto seconds = [&](const char* command) {
    const auto begin = std::chrono::steady_clock::now();
    machine.run(command);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("%s: %.1f s\n", command, took.count());
    return took.count();
  };
  // A second's worth may go at once.
  require(seconds("dd if=/dev/zero of=/dev/vda bs=64k count=128 oflag=direct") >= 3,
          "8 MiB take their time at 2 MiB a second");
  require(seconds("dd if=/dev/vdb of=/dev/null bs=4k count=100 iflag=direct") >= 4,
          "100 requests take theirs at 20 a second");
  machine.power_off();
}

}  // namespace reeve::lab
