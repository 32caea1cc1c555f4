#include "agent/driver/core/record.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "hypervisor_core/vm/config.h"

namespace reeve::agent::core_driver {
namespace {

namespace v1 = core::v1;

constexpr std::size_t kMaxSerial = 20;
constexpr std::uint32_t kMaxPairs = 8;  ///< of a card's queues
/// Stands in for the tap or passt of a card, which exists only while the machine runs.
constexpr const char* kSomeTap = "tap";

Error invalid(const GuestDefinition& guest, const std::string& what) {
  return {Code::InvalidArgument, "GUEST_INVALID", "guest '" + guest.display_name + "': " + what};
}

v1::DiskFormat format_of(DiskFormat format) {
  return format == DiskFormat::Qcow2 ? v1::DISK_FORMAT_QCOW2 : v1::DISK_FORMAT_RAW;
}

void add_layer(v1::DiskConfig& disk, const std::string& path, DiskFormat format) {
  auto& layer = *disk.add_layers();
  layer.set_path(path);
  layer.set_format(format_of(format));
}

void add_disk(v1::MachineConfig& machine, const GuestDisk& disk) {
  auto& made = *machine.add_disks();
  made.set_id(disk.id);
  made.set_serial(disk.id.substr(0, kMaxSerial));
  made.set_read_only(disk.read_only);
  add_layer(made, disk.path, disk.format);
  if (!disk.backing_path.empty()) add_layer(made, disk.backing_path, disk.backing_format);
}

Status check(const GuestDefinition& guest, v1::MachineConfig machine) {
  if (!is_uuid(guest.uid)) return invalid(guest, "'" + guest.uid + "' is not a UUID");
  if (guest.run_dir.empty()) return invalid(guest, "it has no run directory");
  if (guest.kernel_path.empty())
    return invalid(guest, "the own core has no firmware; give it a kernel");
  if (guest.cpus < 1 || guest.memory_mib < 1)
    return invalid(guest, "it needs at least one CPU and 1 MiB of memory");
  const auto& limits = guest.limits;
  if (limits.cpu_weight < 0 || limits.cpu_limit_percent < 0 || limits.memory_limit_mib < 0)
    return invalid(guest, "a limit is negative");
  for (auto& nic : *machine.mutable_nics()) nic.set_tap_name(kSomeTap);
  if (auto checked = core::check_config(machine); !checked.ok())
    return invalid(guest, checked.error().message());
  return {};
}

}  // namespace

Result<v1::GuestRecord> record_of(const GuestDefinition& guest) {
  v1::GuestRecord record;
  record.set_uid(guest.uid);
  record.set_display_name(guest.display_name);
  record.set_run_dir(guest.run_dir);
  record.set_cpu_weight(static_cast<std::uint32_t>(guest.limits.cpu_weight));
  record.set_cpu_limit_percent(static_cast<std::uint32_t>(guest.limits.cpu_limit_percent));
  record.set_memory_limit_mib(static_cast<std::uint64_t>(guest.limits.memory_limit_mib));
  auto& machine = *record.mutable_machine();
  machine.set_uuid(guest.uid);
  machine.set_vcpus(static_cast<std::uint32_t>(guest.cpus));
  machine.set_memory_mib(static_cast<std::uint64_t>(guest.memory_mib));
  machine.set_page_backing(v1::PAGE_BACKING_TRANSPARENT);
  machine.set_kernel_path(guest.kernel_path);
  machine.set_initrd_path(guest.initrd_path);
  machine.set_command_line(guest.command_line);
  machine.set_rng(true);
  machine.set_balloon(true);
  machine.set_guest_agent(guest.guest_agent);
  machine.set_on_reset(v1::ON_RESET_RESTART);
  for (const auto& disk : guest.disks) add_disk(machine, disk);
  if (!guest.seed_path.empty()) {
    add_disk(machine,
             {.id = "seed", .path = guest.seed_path, .format = DiskFormat::Raw, .read_only = true});
    machine.set_system_serial("ds=nocloud");
  }
  for (const auto& nic : guest.nics) {
    auto& made = *machine.add_nics();
    made.set_id(nic.id);
    made.set_mac(nic.mac);
    // A pair of queues for each processor. A passt has one stream.
    if (!nic.bridge.empty()) made.set_queue_pairs(std::min(machine.vcpus(), kMaxPairs));
    record.add_bridges(nic.bridge);
  }
  TRY(check(guest, machine));
  return record;
}

std::vector<std::string> pending_restart(const v1::GuestRecord& record) {
  std::vector<std::string> pending;
  if (record.machine().vcpus() != record.running().vcpus()) pending.emplace_back("spec.cpus");
  if (record.machine().memory_mib() != record.running().memory_mib())
    pending.emplace_back("spec.memory_mib");
  return pending;
}

Result<std::vector<v1::GuestRecord>> RecordStore::load() const {
  TRY(make_dirs(folder_));
  std::vector<v1::GuestRecord> records;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".pb") continue;
    const auto bytes = read_file(it->path());
    v1::GuestRecord record;
    if (bytes.ok() && record.ParseFromString(bytes.value()) &&
        path_of(record.uid()) == it->path().string())
      records.push_back(std::move(record));
    else
      log::warning("machine record cannot be read", {{"file", it->path().string()}});
  }
  if (error) return errno_error("reading '" + folder_ + "'", error.value());
  return records;
}

Status RecordStore::write(const v1::GuestRecord& record) const {
  return write_file_durably(path_of(record.uid()), record.SerializeAsString());
}

Status RecordStore::remove(const std::string& uid) const {
  TRY(remove_file(path_of(uid)));
  return sync_dir(folder_);
}

}  // namespace reeve::agent::core_driver
