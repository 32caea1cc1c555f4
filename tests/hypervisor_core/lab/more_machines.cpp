// tests/hypervisor_core/lab/more_machines.cpp - smaller guests, each for one promise.
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "hypervisor_core/block/create.h"
#include "tests/hypervisor_core/lab/host_side.h"
#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

namespace reeve::lab {

using namespace core;
using namespace std::chrono_literals;

/// Reset from outside as well.
void one_processor() {
  Machine machine("one", quick_guest(1));
  machine.wait_until_up();
  machine.run("test $(nproc) = 1");
  machine.call([](auto& r) { r.mutable_reset(); });
  machine.wait_until_up();
  require(machine.status().resets() == 1, "the machine was reset in the same process");
  machine.type("poweroff -f\n");
  require(machine.ended().kind() == v1::ExitReport::KIND_GUEST_POWER_OFF, "the guest powers off");
}

void four_processors() {
  make_tap("tap3", "10.9.3.1/24", true);
  const Peer peer = Peer::at_port(7003);
  auto config = quick_guest(4);
  config.set_command_line("console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=10.9.3.2/24");
  add_disk(config, "four", 32);
  auto& nic = *config.add_nics();
  nic.set_id("net");
  nic.set_mac("52:54:00:0a:09:06");
  nic.set_tap_name("tap3");
  nic.set_queue_pairs(4);
  Machine machine("four", config);
  machine.wait_until_up();
  machine.run("test $(nproc) = 4 && test $(ls /sys/block/vda/mq | wc -l) = 4");
  machine.run(
      "all=; for i in 0 1 2 3; do probe clock 4 & all=\"$all $!\"; "
      "probe disk /dev/vda $((50 + i)) 100 $((8 * i)) 8 & all=\"$all $!\"; done; "
      "for p in $all; do wait $p || exit 1; done");
  machine.run("test $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l) = 4");
  machine.run(
      "for i in 0 1 2 3; do taskset -c $i probe send 10.9.3.1 7003 1 & all=\"$all $!\"; done; "
      "for p in $all; do wait $p || exit 1; done; probe receive 10.9.3.1 7003 1");
  require(peer.accepted() == 5, "all queues carry traffic");

  machine.call([](auto& r) {
    r.mutable_disk_grown()->set_disk_id("four");
    r.mutable_disk_grown()->set_size_bytes(48 << 20);
  });
  machine.run("while test $(cat /sys/block/vda/size) != 98304; do sleep 0.1; done");
  machine.run("probe disk /dev/vda 6 100");
  machine.power_off();
}

/// RAM on both sides of the hole below 4 GiB, and as many processors as are promised.
void large_machine() {
  auto config = quick_guest(16);
  config.set_memory_mib(3584);  // 512 MiB above 4 GiB
  add_disk(config, "large", 32);
  Machine machine("large", config);
  machine.wait_until_up();
  machine.run("test $(nproc) = 16");
  machine.run("test $(sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) -gt 3400000");
  machine.run("grep '^100000000-.*System RAM' /proc/iomem");
  // Linux takes the highest memory first.
  machine.run(
      "head -c 16777216 /dev/urandom >/tmp/x && dd if=/tmp/x of=/dev/vda bs=1M oflag=direct");
  machine.run("dd if=/dev/vda bs=1M count=16 iflag=direct | cmp - /tmp/x");
  machine.power_off();
}

/// A guest that crashed and stays says so; a reset from outside makes it well.
void guest_panic() {
  auto config = quick_guest(1);
  const std::string archive = "/tmp/panic.cpio";
  shell(
      "mkdir -p /tmp/more/lib && cp /lab/pvpanic*.ko /tmp/more/lib && cd /tmp/more && find . | "
      "cpio -o -H newc "
      ">/tmp/more.cpio 2>/dev/null && cat " +
      config.initrd_path() + " /tmp/more.cpio >" + archive);
  config.set_initrd_path(archive);
  Machine machine("panic", config);
  machine.wait_until_up();
  machine.run(
      "insmod /lib/pvpanic.ko && insmod /lib/pvpanic-mmio.ko && echo 0 >/proc/sys/kernel/panic");
  require(!machine.status().guest_panicked(), "all is well");
  machine.type("echo c >/proc/sysrq-trigger\n");
  for (int i = 0; i < 600 && !machine.status().guest_panicked(); ++i) machine.absorb(100ms);
  require(machine.status().guest_panicked(), "its crash is known");
  machine.call([](auto& r) { r.mutable_reset(); });
  machine.wait_until_up();
  require(!machine.status().guest_panicked(), "and over");
  machine.power_off();
}

/// The shell is on hvc0: what is typed reaches it, and what it says comes back.
void virtio_terminal() {
  auto config = quick_guest(1);
  config.set_console(true);
  config.set_command_line(config.command_line() + " reeve.console=hvc0");
  std::filesystem::path state;
  {
    Machine machine("terminal", config);
    machine.wait_until_up();
    machine.run("test $(readlink /proc/self/fd/0) = /dev/hvc0");
    machine.run("seq 1 20000 | md5sum >/tmp/sum");
    state = machine.save();
  }
  Machine machine("terminal-moved", config, state);
  // Linux hands over 16 bytes at a time and spins for each: slow where host and guest have one
  // processor.
  const auto said = machine.run("seq 1 20000 | md5sum | cmp - /tmp/sum && seq 1 50");
  require(said.find("49\n50\n") != std::string::npos, "it says much at once");
  machine.power_off();
}

/// A bzImage that the guest starts again from inside.
void hot_reboot() {
  auto config = quick_guest(2);
  config.set_kernel_path("/lab/bzImage");
  Machine machine("reboot", config);
  machine.wait_until_up();
  machine.type("reboot -f\n");
  machine.wait_until_up();
  const auto status = machine.status();
  require(status.resets() == 1, "the machine was reset in the same process");
  require(status.boot_format() == "bzImage (64-bit)", "it was entered as a bzImage");
  machine.run("test $(nproc) = 2");
  machine.power_off();
}

/// What was flushed survives; the file system repairs itself from its journal.
void power_cut() {
  auto config = quick_guest(2);
  add_disk(config, "cut", 64);
  shell("/lab/mke2fs -q -t ext4 /tmp/cut.raw");
  config.set_command_line(
      "console=ttyS0 quiet panic=-1 reeve.heartbeat=0 reeve.net=none "
      "reeve.mount=/dev/vda");
  for (int round = 0; round < 2; ++round) {
    const std::string flushed = "/mnt/flushed" + std::to_string(round);
    Machine machine("cut" + std::to_string(round), config);
    machine.wait_until_up();
    machine.run("dd if=/dev/urandom of=" + flushed + " bs=64k count=32 conv=fsync");
    const auto sum = machine.run("md5sum <" + flushed);
    machine.run(
        "(while true; do for i in 1 2 3 4 5 6 7 8; do head -c 200000 /dev/urandom "
        ">/mnt/busy$i; mv /mnt/busy$i /mnt/moved$i; sync; done; done) & sleep 3");
    machine.cut_power();
    const auto repaired =
        shell("/lab/e2fsck -fy /tmp/cut.raw; test $? -le 1 && /lab/e2fsck -fn /tmp/cut.raw");
    std::printf("%s", repaired.c_str());
    const auto after = shell("/lab/debugfs -R 'dump /flushed" + std::to_string(round) +
                             " /tmp/after' /tmp/cut.raw 2>/dev/null && md5sum </tmp/after");
    require(after == sum.substr(0, sum.find('\n') + 1), "what was flushed is there");
  }
}

/// A hostile guest writes to its serial port as fast as it can, with nobody reading and with a
/// watcher that does not. It is in hand all the same. How much that leaves on the host is shown
/// with more output than a lab machine produces: vmm/vmm_test.
void console_flood() {
  auto config = quick_guest(1);
  Machine machine("flood", config);
  machine.wait_until_up();
  auto lazy = take(control::ControlClient::connect(machine.folder() / control::kControlSocket),
                   "a second connection");
  v1::ControlRequest watch;
  watch.mutable_watch_console();
  take(lazy.call(watch, 10s), "watching");
  const auto written = [&] { return machine.status().console_offset(); };
  const auto goes_on = [&](const std::string& when) {
    const auto before = written();
    const auto begin = std::chrono::steady_clock::now();
    while (written() < before + 8192 && std::chrono::steady_clock::now() - begin < 90s)
      machine.absorb(100ms);
    require(written() >= before + 8192, "the guest writes all the time" + when);
  };
  machine.type("probe flood 4000\n");
  goes_on("");
  machine.pause();
  const auto before = written();
  sleep(2);
  require(written() == before, "but not when it is paused");
  machine.resume();
  goes_on(", and goes on");
  machine.call([](auto& r) { r.mutable_stop(); });
  require(machine.ended().kind() == v1::ExitReport::KIND_KILLED, "it can be stopped all the time");
}

/// Without a right on the host: passt as a process of its own.
void user_network() {
  shell("echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range");
  const Peer peer = Peer::at_port(7000);
  auto passt = take(Process::spawn({"passt", "--foreground", "--one-off", "--socket",
                                    "/tmp/passt.sock", "--quiet"},
                                   {.errors = STDERR_FILENO}),
                    "starting passt");
  for (int i = 0; i < 200 && !std::filesystem::exists("/tmp/passt.sock"); ++i) usleep(20'000);
  auto config = quick_guest(1);
  config.set_command_line("console=ttyS0 quiet panic=-1 reeve.heartbeat=0");
  auto& nic = *config.add_nics();
  nic.set_id("net");
  nic.set_mac("52:54:00:0a:09:03");
  nic.set_passt_socket("/tmp/passt.sock");
  Machine machine("user", config);
  machine.expect("REEVE-ADDRESS");
  machine.run("ip route | grep -q 'default via 10.0.2.2'");
  machine.run("ping -c 2 10.0.2.2");
  std::printf("to the host: %s", machine.run("probe send 10.0.2.2 7000 2").c_str());
  std::printf("to the guest: %s", machine.run("probe receive 10.0.2.2 7000 2").c_str());
  machine.power_off();
  require(passt.wait(20s).ok(), "passt ends with its guest");
}

/// A linked clone: qcow2 over a raw image that stays as it was.
void overlay_disk() {
  shell("dd if=/dev/urandom of=/tmp/base.raw bs=1M count=16 2>/dev/null");
  const auto base = shell("md5sum </tmp/base.raw");
  shell("qemu-img create -q -f qcow2 -b /tmp/base.raw -F raw /tmp/over.qcow2");
  auto config = quick_guest(2);
  auto& disk = *config.add_disks();
  disk.set_id("over");
  disk.add_layers()->set_path("/tmp/over.qcow2");
  disk.mutable_layers(0)->set_format(v1::DISK_FORMAT_QCOW2);
  disk.add_layers()->set_path("/tmp/base.raw");
  disk.mutable_layers(1)->set_format(v1::DISK_FORMAT_RAW);
  Machine machine("overlay", config);
  machine.wait_until_up();
  const auto shown = machine.run("md5sum </dev/vda");
  require(shown.substr(0, 32) == base.substr(0, 32), "the clone shows its base: " + shown + base);
  machine.run("probe disk /dev/vda 4 600");
  const auto written = machine.run("echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/vda");
  machine.power_off();
  require(shell("md5sum </tmp/base.raw") == base, "the base is untouched");
  shell("qemu-img check -q /tmp/over.qcow2");
  require(shell("qemu-img convert -O raw /tmp/over.qcow2 /tmp/flat.raw && md5sum </tmp/flat.raw")
                  .substr(0, 32) == written.substr(0, 32),
          "qemu-img reads what the guest wrote");
}

}  // namespace reeve::lab
