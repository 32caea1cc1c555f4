#include "agent/storage/spec.h"

#include <google/protobuf/util/message_differencer.h>
#include <google/protobuf/util/time_util.h>

namespace reeve::agent {

namespace {

DiskFormat format_of(reeve::v1::DiskFormat format) {
  return format == reeve::v1::DISK_FORMAT_QCOW2 ? DiskFormat::Qcow2 : DiskFormat::Raw;
}

}  // namespace

bool same_spec(const v1::GuestSpec& a, const v1::GuestSpec& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

bool same_files(const v1::GuestSpec& a, const v1::GuestSpec& b) {
  v1::GuestSpec left;
  v1::GuestSpec right;
  *left.mutable_disks() = a.disks();
  *right.mutable_disks() = b.disks();
  if (a.has_seed()) *left.mutable_seed() = a.seed();
  if (b.has_seed()) *right.mutable_seed() = b.seed();
  return same_spec(left, right);
}

std::string disk_file_name(const v1::GuestDisk& disk) {
  return disk.id() + (disk.format() == reeve::v1::DISK_FORMAT_RAW ? ".raw" : ".qcow2");
}

Result<GuestDefinition> make_definition(
    const v1::GuestSpec& spec, const std::string& folder,
    const std::function<Result<std::string>(std::string_view uid)>& image_path) {
  GuestDefinition out;
  out.uid = spec.uid();
  out.display_name = spec.display_name();
  out.cpus = spec.cpus();
  out.memory_mib = spec.memory_mib();
  for (const auto& disk : spec.disks()) {
    GuestDisk made;
    made.id = disk.id();
    made.path = folder + "/" + disk_file_name(disk);
    made.format = format_of(disk.format());
    if (!disk.image().empty()) made.backing_path = TRY(image_path(disk.image()));
    made.backing_format = format_of(disk.image_format());
    made.read_only = disk.read_only();
    out.disks.push_back(std::move(made));
  }
  for (const auto& nic : spec.nics())
    out.nics.push_back({.id = nic.id(), .mac = nic.mac(), .bridge = nic.bridge()});
  if (!spec.kernel_image().empty()) out.kernel_path = TRY(image_path(spec.kernel_image()));
  if (!spec.initrd_image().empty()) out.initrd_path = TRY(image_path(spec.initrd_image()));
  out.command_line = spec.command_line();
  if (spec.has_seed()) out.seed_path = folder + "/seed.iso";
  out.guest_agent = spec.guest_agent();
  out.limits = {.cpu_weight = spec.limits().cpu_weight(),
                .cpu_limit_percent = spec.limits().cpu_limit_percent(),
                .memory_limit_mib = spec.limits().memory_limit_mib()};
  out.run_dir = folder + "/run";
  return out;
}

google::protobuf::Timestamp timestamp_of(WallTime time) {
  return google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(to_micros(time));
}

Error image_not_found(std::string_view uid) {
  return Error(Code::NotFound, "IMAGE_NOT_FOUND",
               "this host has no image '" + std::string(uid) + "'")
      .resource("images/" + std::string(uid));
}

Error guest_files_not_found(std::string_view uid) {
  return Error(Code::NotFound, "GUEST_FILES_NOT_FOUND",
               "this host has no files of machine '" + std::string(uid) + "'")
      .resource("vms/" + std::string(uid));
}

}  // namespace reeve::agent
