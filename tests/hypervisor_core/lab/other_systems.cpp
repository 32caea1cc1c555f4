// tests/hypervisor_core/lab/other_systems.cpp - a 32-bit Linux, a memory test, a whole Debian.
#include <cstdio>

#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

namespace reeve::lab {

using namespace core;
using namespace std::chrono_literals;

void linux_32_bit() {
  auto config = quick_guest(2);
  config.set_kernel_path("/lab/bzImage686");
  config.set_initrd_path("/lab/guest686.cpio");
  add_disk(config, "old", 16);
  Machine machine("old", config);
  machine.wait_until_up();
  machine.run("test $(uname -m) = i686 && test $(nproc) = 2");
  machine.run("mke2fs /dev/vda >/dev/null && mkdir -p /data && mount /dev/vda /data");
  machine.run("head -c 3000000 /dev/urandom >/data/x && sync && md5sum </data/x >/tmp/sum");
  machine.run(
      "umount /data && mount /dev/vda /data && test \"$(md5sum </data/x)\" = \"$(cat /tmp/sum)\"");
  // No move to another process here: QEMU's emulation, in which the lab runs, stops when a 32-bit
  // guest comes back with its task register busy, which every real processor demands.
  machine.power_off();
}

/// Not Linux: its own page tables, its own interrupt handling, straight at the hardware. Debian's
/// image of it is a bzImage; Multiboot is what the unit tests' kernels are.
void memory_test() {
  auto config = quick_guest(1);
  config.set_memory_mib(32);
  config.set_kernel_path("/lab/memtest");
  config.clear_initrd_path();
  config.set_command_line("console=ttyS0,115200");
  Machine machine("memtest", config);
  machine.expect("Memtest86+");
  require(machine.status().boot_format() == "bzImage (32-bit)",
          "it was loaded as a bzImage, not as " + machine.status().boot_format());
  machine.expect("Pass");
  const auto before = machine.status().console_offset();
  for (int i = 0; i < 20; ++i) machine.absorb(500ms);
  require(machine.status().console_offset() > before, "it goes on testing");
  machine.call([](auto& r) { r.mutable_stop(); });
  require(machine.ended().kind() == v1::ExitReport::KIND_KILLED, "it is stopped");
}

/// The disk is /dev/vda of the lab machine, the seed is beside it.
void whole_debian() {
  auto config = quick_guest(1);
  config.set_memory_mib(1024);
  config.set_kernel_path("/lab/debian-vmlinux");
  config.set_initrd_path("/lab/debian-initrd");
  config.set_command_line("root=LABEL=root rw console=ttyS0 quiet");
  config.set_rng(true);
  const auto disk = [&](const char* id, const char* path) -> v1::DiskConfig& {
    auto& added = *config.add_disks();
    added.set_id(id);
    added.add_layers()->set_path(path);
    added.mutable_layers(0)->set_format(v1::DISK_FORMAT_RAW);
    return added;
  };
  disk("root", "/dev/vda");
  disk("seed", "/lab/seed.iso").set_read_only(true);
  Machine machine("debian", config);
  machine.expect("reeve-lab login:", 700s);  // the host name is cloud-init's
  machine.expect("REEVE-CLOUD-INIT applied", 600s);
  machine.type("\nguest\n");
  machine.expect("Password:");
  machine.type("lab-password\n");
  machine.expect("$ ", 300s);
  machine.type("echo ssh=$(systemctl is-active ssh) root=$(findmnt -no SOURCE /) said-$((6*7))\n");
  const auto said = machine.expect("said-42", 300s);
  require(said.find("ssh=active") != std::string::npos, "sshd runs");
  require(said.find("root=/dev/vda1") != std::string::npos, "its root is the disk's partition");
  // With its modules and everything udev loads for what the tables describe.
  machine.type(
      std::string("sudo dmesg >/tmp/said; grep -c 'ACPI: Interpreter enabled' /tmp/said; ") +
      "echo listed-$((6*7)); grep -iE '" + kComplaints + "' /tmp/said; echo end-$((6*7))\n");
  auto counted = machine.expect("listed-42", 300s);
  std::erase(counted, '\r');
  require(counted.ends_with("1\n"), "its kernel uses ACPI");
  auto complaints = machine.expect("end-42", 300s);
  std::erase(complaints, '\r');
  require(complaints == "\n", "it has no complaint: " + complaints);
  machine.power_off();
}

}  // namespace reeve::lab
