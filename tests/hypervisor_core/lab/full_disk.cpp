// tests/hypervisor_core/lab/full_disk.cpp - a disk on a host file system that fills up: the machine
// waits, moves to another process, and goes on when there is room, with every byte.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <sys/mount.h>
#include <unistd.h>

#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/scenarios.h"

namespace reeve::lab {
namespace {

using Status = core::v1::MachineStatus;

void mount_small(const char* size, unsigned long flags) {
  require(::mount("small", "/tmp/small", "tmpfs", flags, size) == 0, size);
}

Status reaches(Machine& machine, Status::State wanted) {
  for (int i = 0; i < 600; ++i, usleep(100'000))
    if (auto now = machine.status(); now.state() == wanted) return now;
  require(false, "the state asked for comes");
  return {};
}

}  // namespace

void full_host_disk() {
  std::filesystem::create_directories("/tmp/small");
  mount_small("size=4m", 0);
  auto config = quick_guest(1);
  add_disk(config, "data", 1);
  config.mutable_disks(0)->mutable_layers(0)->set_path("/tmp/small/disk.raw");
  std::ofstream("/tmp/small/disk.raw").close();
  std::filesystem::resize_file("/tmp/small/disk.raw", 64 << 20);
  Machine first("full-first", config);
  first.wait_until_up();
  first.run("dd if=/dev/urandom of=/tmp/r bs=64k count=256");
  first.type(
      "dd if=/tmp/r of=/dev/vda bs=64k conv=fsync && cmp -n 16777216 /tmp/r /dev/vda && echo "
      "ALL-\"\"THERE\n");
  const auto waiting = reaches(first, Status::STATE_WAITING_FOR_SPACE);
  std::printf("waiting for: %s\n", waiting.waiting_for().c_str());
  require(waiting.waiting_for().find("disk 'data'") != std::string::npos, "it says for what");

  Machine second("full-second", config, first.save());
  (void)reaches(second, Status::STATE_WAITING_FOR_SPACE);
  second.resume();  // still no room
  (void)reaches(second, Status::STATE_WAITING_FOR_SPACE);
  mount_small("size=100m", MS_REMOUNT);
  second.expect("ALL-THERE");
  second.power_off();
}

}  // namespace reeve::lab
