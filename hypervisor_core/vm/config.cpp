#include "hypervisor_core/vm/config.h"

#include <cctype>
#include <set>
#include <string>

#include "base/uuid.h"
#include "hypervisor_core/memory/layout.h"

namespace reeve::core {
namespace {

Error bad(const std::string& what) {
  return Error{Code::InvalidArgument, "MACHINE_CONFIG", what};
}

bool is_mac(const std::string& text) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < 17; ++i) {
    const bool digit = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (i % 3 == 2 ? text[i] != ':' : !digit) return false;
  }
  const int first = std::stoi(text.substr(0, 2), nullptr, 16);
  return (first & 1) == 0;  // not a group address
}

Status check_disk(const v1::DiskConfig& disk) {
  if (disk.layers().empty()) return bad("disk '" + disk.id() + "' has no file");
  if (disk.serial().size() > 20) return bad("serial of disk '" + disk.id() + "' is over 20 bytes");
  if (disk.queues() > 16) return bad("disk '" + disk.id() + "' has more than 16 queues");
  for (const auto& layer : disk.layers())
    if (layer.path().empty() || layer.format() == v1::DISK_FORMAT_UNSPECIFIED)
      return bad("a layer of disk '" + disk.id() + "' has no path or no format");
  return {};
}

Status check_nic(const v1::NicConfig& nic) {
  if (!is_mac(nic.mac())) return bad("'" + nic.mac() + "' is not a MAC address");
  const int backends = (nic.tap_name().empty() ? 0 : 1) + (nic.passt_socket().empty() ? 0 : 1) +
                       (nic.passt_fd() >= 3 ? 1 : 0);
  if (backends != 1)
    return bad("network card '" + nic.id() + "' needs either a tap or a socket of passt");
  if (nic.queue_pairs() > 8) return bad("network card '" + nic.id() + "' has more than 8 queues");
  return {};
}

}  // namespace

Status check_config(const v1::MachineConfig& config) {
  if (config.vcpus() < 1 || config.vcpus() > kMaxVcpus) return bad("vcpus must be 1 to 254");
  if (config.memory_mib() < kMinRam / kMiB || config.memory_mib() > kMaxRam / kMiB)
    return bad("memory_mib must be 1 to 4194304");
  if (config.page_backing() == v1::PAGE_BACKING_RESERVED && config.memory_mib() % 2 != 0)
    return bad("memory_mib must be even with reserved huge pages");
  if (config.kernel_path().empty()) return bad("kernel_path is missing");
  if (!is_uuid(config.uuid())) return bad("uuid is not one");
  if (config.disks_size() > kMaxDisks) return bad("more than 16 disks");
  if (config.nics_size() > kMaxNics) return bad("more than 8 network cards");
  if (config.vsock_cid() == 1 || config.vsock_cid() == 2) return bad("vsock_cid must be 3 or more");
  std::set<std::string> ids;
  for (const auto& disk : config.disks()) {
    if (disk.id().empty() || !ids.insert(disk.id()).second) return bad("disk ids must differ");
    TRY(check_disk(disk));
  }
  for (const auto& nic : config.nics()) {
    if (nic.id().empty() || !ids.insert(nic.id()).second) return bad("ids must differ");
    TRY(check_nic(nic));
  }
  return {};
}

}  // namespace reeve::core
