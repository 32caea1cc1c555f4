#include "agent/host/fingerprint.h"

namespace reeve::agent {

std::vector<reeve::v1::DiskFacts> read_disks(const HostRoot& root) {
  std::vector<reeve::v1::DiskFacts> disks;
  for (const auto& name : list_names(root + "/sys/block")) {
    const std::string folder = root + "/sys/block/" + name;
    // Loop, RAM and mapped devices are made of others; what has a device behind it is real.
    if (list_names(folder + "/device").empty()) continue;
    constexpr std::int64_t kSector =
        512;  // the unit of this file, whatever the device's own sector is
    const std::int64_t size = to_number(read_text(folder + "/size")) * kSector;
    if (size <= 0) continue;
    reeve::v1::DiskFacts disk;
    disk.set_device(name);
    disk.set_size_bytes(size);
    disk.set_model(read_text(folder + "/device/model"));
    disk.set_rotational(read_text(folder + "/queue/rotational") == "1");
    disks.push_back(std::move(disk));
  }
  return disks;
}

}  // namespace reeve::agent
