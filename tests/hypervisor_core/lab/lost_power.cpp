// tests/hypervisor_core/lab/lost_power.cpp - runs inside the lab machine until its power is cut: a
// guest writes to disks that lie on /dev/vda and, as a qcow2 image, in a file system on /dev/vdb.
// Half of it is flushed. What is left of it is looked at outside (lost_power_test.cpp).
//
// Killing reeve-vmm would show nothing: the page cache outlives it.
#include <cstdio>
#include <fstream>

#include <fcntl.h>
#include <unistd.h>

#include "hypervisor_core/accel/kvm/probe.h"
#include "hypervisor_core/block/create.h"
#include "tests/hypervisor_core/lab/machine.h"

namespace reeve::lab {
namespace {

void put_on(core::v1::MachineConfig& config, const std::string& id, const std::string& path,
            core::v1::DiskFormat format) {
  auto& disk = *config.add_disks();
  disk.set_id(id);
  auto& layer = *disk.add_layers();
  layer.set_path(path);
  layer.set_format(format);
}

/// Nothing goes to the disks unasked.
void hold_back_writes() {
  std::ofstream("/proc/sys/vm/dirty_writeback_centisecs") << "0\n";
  std::ofstream("/proc/sys/vm/dirty_background_ratio") << "90\n";
}

/// Fills 4 MiB at `mib` with a letter.
std::string fill(const std::string& disk, char letter, int mib, const std::string& how) {
  const std::string file = std::string("/tmp/") + letter;
  return std::string("tr '\\000' ") + letter + " </dev/zero | head -c 4194304 >" + file +
         " && dd if=" + file + " of=" + disk + " bs=64k seek=" + std::to_string(mib * 16) + " " +
         how + " 2>/dev/null";
}

void lose_power() {
  hold_back_writes();
  shell("mkdir /tmp/images && mount -t ext4 /dev/vdb /tmp/images");
  const std::string image = "/tmp/images/disk.qcow2";
  require(core::create_qcow2(image, 64 << 20).ok(), "an image is made");
  auto config = quick_guest(1);
  put_on(config, "plain", "/dev/vda", core::v1::DISK_FORMAT_RAW);
  put_on(config, "image", image, core::v1::DISK_FORMAT_QCOW2);
  Machine machine("lost", config);
  machine.wait_until_up();
  for (const char* disk : {"/dev/vda", "/dev/vdb"}) {
    machine.run(fill(disk, 'F', 0, "conv=fsync"));
    machine.run(fill(disk, 'U', 8, "oflag=direct"));  // reaches us, and nobody asks for more
  }
  shell("test $(dd if=/dev/vda bs=1M skip=8 count=4 2>/dev/null | tr -d U | wc -c) = 0");
  require(true, "what was not flushed is on the disk as long as there is power");
  std::printf("the power is cut now\n");
  std::fflush(stdout);
  sleep(1);
  std::ofstream("/proc/sysrq-trigger") << "b" << std::flush;
  pause();
}

}  // namespace
}  // namespace reeve::lab

int main() {
  using namespace reeve::lab;
  const auto probe = take(reeve::core::accel::probe_kvm(), "probe");
  require(probe.usable, "KVM is usable: " + probe.summary);
  lose_power();
  return 1;
}
