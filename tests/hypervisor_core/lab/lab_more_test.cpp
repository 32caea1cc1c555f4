// tests/hypervisor_core/lab/lab_more_test.cpp - what else guests do on the own core, in the KVM
// lab.
#include <chrono>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/hypervisor_core/lab/in_lab.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace reeve::core {
namespace {

/// A folder of tools/guest.
std::string prepared(const std::string& kind) {
  auto out = run_checked({.argv = {test::source_dir() / "tools/guest/prepare", kind},
                          .timeout = std::chrono::minutes(10)});
  INFO((out.ok() ? "" : out.error().message()));
  REQUIRE(out.ok());
  auto folder = std::move(out).value();
  return folder.substr(0, folder.find('\n'));
}

void copy_disk(const std::string& from, const std::string& to) {
  REQUIRE(
      run_checked({.argv = {"cp", "--sparse=always", from, to}, .timeout = std::chrono::minutes(2)})
          .ok());
}

/// What cloud-init is to do with the machine, as it reads it.
void make_seed(const test::TempDir& dir) {
  std::ofstream(dir / "meta-data") << "instance-id: lab\nlocal-hostname: reeve-lab\n";
  std::ofstream(dir / "user-data") << R"(#cloud-config
users:
  - name: guest
    lock_passwd: false
    plain_text_passwd: lab-password
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
ssh_genkeytypes: [ed25519]
runcmd:
  - sh -c 'echo REEVE-CLOUD-INIT applied >/dev/console'
)";
  REQUIRE(run_checked({.argv = {"xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r",
                                "-o", dir / "seed.iso", dir / "user-data", dir / "meta-data"}})
              .ok());
}

}  // namespace

// The longest comes first, so that the others fill the time beside it.
TEST_CASE("a whole Debian comes to its login prompt with cloud-init applied") {
  const auto debian = prepared("debian");
  const test::TempDir dir;
  copy_disk(debian + "/disk.raw", dir / "disk.raw");
  make_seed(dir);
  hold_in_lab({"whole_debian"},
              {"--disk", dir / "disk.raw", "--add", (dir / "seed.iso").string() + ":/lab/seed.iso",
               "--add", debian + "/vmlinux:/lab/debian-vmlinux", "--add",
               debian + "/initrd.img:/lab/debian-initrd"});
}

TEST_CASE("Linux boots on one processor, reboots in its process, survives power cuts and floods") {
  hold_in_lab({"one_processor", "hot_reboot", "power_cut", "console_flood"});
}

TEST_CASE(
    "Linux uses four processors, as many queues of a disk and a card, and a disk that grows") {
  hold_in_lab({"four_processors"});
}

TEST_CASE("Linux uses sixteen processors and memory above 4 GiB") {
  hold_in_lab({"large_machine"});
}

TEST_CASE("a Linux that crashes is known to have crashed") {
  const std::filesystem::path modules = prepared("kernel") + "/lib/modules";
  std::vector<std::string> options;
  for (const auto& version : std::filesystem::directory_iterator(modules))
    for (const char* module : {"pvpanic.ko", "pvpanic-mmio.ko"}) {
      options.emplace_back("--add");
      options.push_back(version.path() / "kernel/drivers/misc/pvpanic" / module);
    }
  hold_in_lab({"guest_panic"}, options);
}

TEST_CASE("a full host disk pauses Linux, which goes on in another process without loss") {
  hold_in_lab({"full_host_disk"});
}

TEST_CASE("Linux gives memory back to the host unasked, and takes it back when it must") {
  hold_in_lab({"memory_pressure"});
}

TEST_CASE("Linux keeps to its disks' limits and leaves cutting frames to its card") {
  hold_in_lab({"disk_limits", "large_frames"});
}

TEST_CASE("Linux has user networking through passt and a linked clone that qemu-img reads") {
  hold_in_lab({"user_network", "overlay_disk"},
              {"--net", "--add", "/usr/bin/passt", "--add", "/usr/bin/qemu-img"});
}

TEST_CASE("the agent speaks with qemu-guest-agent, and what it freezes thaws in any case") {
  hold_in_lab({"guest_agent", "agent_driver"},
              {"--net", "--add", "/usr/bin/passt", "--add", "/usr/sbin/ip", "--add",
               prepared("agent") + "/guest.cpio:/lab/agent.cpio"});
}

TEST_CASE("Linux has a terminal on its virtio console, which moves to another process with it") {
  hold_in_lab({"virtio_terminal"});
}

TEST_CASE("a 32-bit Linux and a memory test run on the core") {
  hold_in_lab({"linux_32_bit", "memory_test"},
              {"--add", prepared("kernel686") + "/bzImage:/lab/bzImage686", "--add",
               prepared("initramfs686") + "/guest.cpio:/lab/guest686.cpio", "--add",
               prepared("memtest") + "/memtest86+:/lab/memtest"});
}

}  // namespace reeve::core
