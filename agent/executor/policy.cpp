#include "agent/executor/policy.h"

#include <algorithm>

#include "agent/driver/driver.h"
#include "base/text.h"
#include "base/uuid.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kMaxName = 128;

Error bad(Reason reason, std::string message) {
  return {Code::InvalidArgument, reason, std::move(message)};
}

bool is_device_id(std::string_view id) {
  return !id.empty() && id.size() <= 16 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

bool is_mac(std::string_view mac) {
  constexpr std::size_t kLength = 17;
  if (mac.size() != kLength) return false;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const char c = mac[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (i % 3 == 2 ? c != ':' : !hex) return false;
  }
  const auto first = from_hex(mac.substr(0, 2));
  return first.ok() && (std::to_integer<unsigned>(first.value()[0]) & 1) == 0;  // not multicast
}

/// As the kernel has it: 1 to 15 bytes without '/', ':' or space; ours also without other odd
/// characters.
bool is_bridge_name(std::string_view name) {
  return !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

/// Any UTF-8 without control characters; it only ever becomes text in a definition, never a path.
bool is_line(std::string_view text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

Status check_uid(std::string_view uid, std::string_view field) {
  if (is_uuid(uid)) return {};
  return bad("BAD_UID", std::string(field) + " is not a uid");
}

Status check_hypervisor(std::string_view id, const Policy& policy) {
  if (policy.hypervisors.contains(id)) return {};
  return Error{Code::NotFound, "HYPERVISOR_NOT_FOUND",
               "this host has no hypervisor '" + std::string(id.substr(0, 64)) + "'"};
}

Status check_disks(const v1::GuestSpec& spec, const Policy& policy) {
  if (spec.disks_size() > kMaxGuestDisks) return bad("BAD_DISK", "more than 16 disks");
  std::set<std::string_view> ids;
  for (const auto& disk : spec.disks()) {
    if (!is_device_id(disk.id())) return bad("BAD_DISK", "the id of a disk is not [a-z0-9]{1,16}");
    const std::string name = "disk '" + disk.id() + "'";
    if (!ids.insert(disk.id()).second) return bad("BAD_DISK", name + " appears twice");
    if (!disk.image().empty()) TRY(check_uid(disk.image(), "the image of " + name));
    if (disk.format() != reeve::v1::DISK_FORMAT_QCOW2 &&
        (disk.format() != reeve::v1::DISK_FORMAT_RAW || !disk.image().empty()))
      return bad("BAD_DISK", name + " has a format that cannot be made");
    const bool has_image_format = disk.image_format() == reeve::v1::DISK_FORMAT_RAW ||
                                  disk.image_format() == reeve::v1::DISK_FORMAT_QCOW2;
    if (!disk.image().empty() && !has_image_format)
      return bad("BAD_DISK", name + " does not name the format of its image");
    const auto size = disk.size_bytes();
    if (size < 0 || size % 512 != 0 || size > policy.max_disk_bytes ||
        (size == 0 && disk.image().empty()))
      return bad("BAD_DISK", name + " has an impossible size");
  }
  return {};
}

Status check_nics(const v1::GuestSpec& spec, const Policy& policy) {
  if (spec.nics_size() > kMaxGuestNics) return bad("BAD_NIC", "more than 8 network interfaces");
  std::set<std::string_view> ids;
  for (const auto& nic : spec.nics()) {
    if (!is_device_id(nic.id())) return bad("BAD_NIC", "the id of a nic is not [a-z0-9]{1,16}");
    if (!ids.insert(nic.id()).second) return bad("BAD_NIC", "nic '" + nic.id() + "' appears twice");
    if (!is_mac(nic.mac())) return bad("BAD_NIC", "nic '" + nic.id() + "' has no unicast address");
    if (nic.bridge().empty()) continue;
    if (!is_bridge_name(nic.bridge()))
      return bad("BAD_NIC", "nic '" + nic.id() + "' names an impossible bridge");
    if (!policy.any_bridge && !policy.bridges.contains(nic.bridge()))
      return Error(Code::PermissionDenied, "BRIDGE_REFUSED",
                   "this host does not let machines use bridge '" + nic.bridge() + "'")
          .remedy("add it to 'bridges' in the agent's configuration");
  }
  return {};
}

Status check_seed(const v1::GuestSpec& spec) {
  if (!spec.has_seed()) return {};
  const auto& seed = spec.seed();
  if (seed.user_data().size() > kMaxSeedBytes) return bad("BAD_SEED", "user-data is over 1 MiB");
  if (seed.meta_data().size() > kMaxSeedBytes / 4)
    return bad("BAD_SEED", "meta-data is over 256 KiB");
  if (seed.network_config().size() > kMaxSeedBytes / 4)
    return bad("BAD_SEED", "network-config is over 256 KiB");
  return {};
}

Status check_limits(const v1::GuestSpec& spec) {
  constexpr std::int32_t kMaxWeight = 10'000;
  constexpr std::int32_t kMaxPercent = 25'700;
  const auto& limits = spec.limits();
  if (limits.cpu_weight() < 0 || limits.cpu_weight() > kMaxWeight)
    return bad("BAD_GUEST", "the CPU weight is not 0 to 10000");
  if (limits.cpu_limit_percent() < 0 || limits.cpu_limit_percent() > kMaxPercent)
    return bad("BAD_GUEST", "the CPU limit is not 0 to 25700 percent");
  const bool fits = limits.memory_limit_mib() == 0 ||
                    (limits.memory_limit_mib() >= spec.memory_mib() + kLeastBesideMib &&
                     limits.memory_limit_mib() <= std::int64_t{64} << 20);
  if (!fits) return bad("BAD_GUEST", "the memory limit is below the machine's memory and 128 MiB");
  return {};
}

Status check_spec(const v1::GuestSpec& spec, const Policy& policy) {
  TRY(check_uid(spec.uid(), "the machine's uid"));
  TRY(check_hypervisor(spec.hypervisor(), policy));
  if (spec.display_name().empty() || spec.display_name().size() > kMaxName ||
      !is_line(spec.display_name()))
    return bad("BAD_NAME", "the display name is empty, too long or has control characters");
  if (spec.cpus() < 1 || spec.cpus() > policy.max_cpus)
    return bad("BAD_GUEST", "cpus out of range");
  if (spec.memory_mib() < 1 || spec.memory_mib() > policy.max_memory_mib)
    return bad("BAD_GUEST", "memory out of range");
  if (!spec.kernel_image().empty()) TRY(check_uid(spec.kernel_image(), "the kernel image"));
  if (!spec.initrd_image().empty()) TRY(check_uid(spec.initrd_image(), "the initrd image"));
  if (spec.kernel_image().empty() && !(spec.initrd_image().empty() && spec.command_line().empty()))
    return bad("BAD_GUEST", "an initrd or command line without a kernel");
  if (spec.command_line().size() > kMaxCommandLine || !is_line(spec.command_line()))
    return bad("BAD_GUEST", "the command line is too long or has control characters");
  TRY(check_limits(spec));
  TRY(check_disks(spec, policy));
  TRY(check_nics(spec, policy));
  return check_seed(spec);
}

Status check_import(const v1::ImportImage& import, const Policy& policy) {
  TRY(check_uid(import.uid(), "the image's uid"));
  if (!reeve::v1::Image::Kind_IsValid(import.kind()) ||
      import.kind() == reeve::v1::Image::KIND_UNSPECIFIED)
    return bad("BAD_ACTION", "the kind of the image is unknown");
  if (import.kind() == reeve::v1::Image::KIND_DISK &&
      import.format() != reeve::v1::DISK_FORMAT_RAW &&
      import.format() != reeve::v1::DISK_FORMAT_QCOW2)
    return bad("BAD_DISK", "the format of the disk image is unknown");
  constexpr std::size_t kSha256Hex = 64;
  if (!import.sha256().empty() &&
      (import.sha256().size() != kSha256Hex || !from_hex(import.sha256()).ok()))
    return bad("BAD_DIGEST", "the digest is not a SHA-256 in hexadecimal");
  switch (import.source_case()) {
    case v1::ImportImage::kHostPath: {
      const auto& path = import.host_path();
      constexpr std::size_t kMaxPath = 4095;
      if (path.empty() || path[0] != '/' || path.size() > kMaxPath || path.find('\0') != path.npos)
        return bad("BAD_PATH", "the path is not absolute");
      return {};
    }
    case v1::ImportImage::kUpload:
      if (import.upload().ticket().empty() || import.upload().ticket().size() > 256)
        return bad("BAD_ACTION", "the upload has no ticket");
      if (import.upload().size_bytes() < 1 ||
          import.upload().size_bytes() > policy.max_upload_bytes)
        return bad("BAD_ACTION", "the size of the upload is out of range");
      return {};
    case v1::ImportImage::SOURCE_NOT_SET: break;
  }
  return bad("BAD_ACTION", "the import has no source this agent knows");
}

template <class Message>
Status check_target(const Message& message, const Policy& policy) {
  TRY(check_uid(message.uid(), "the machine's uid"));
  return check_hypervisor(message.hypervisor(), policy);
}

template <class Message>
Status check_graceful(const Message& message, const Policy& policy) {
  if (message.grace_ms() < 0 || message.grace_ms() > kMaxGraceMs)
    return bad("BAD_ACTION", "the grace is out of range");
  return check_target(message, policy);
}

}  // namespace

Status validate_key(std::string_view key) {
  constexpr std::size_t kUuid = 36;
  const Error wrong = bad("BAD_STEP_KEY", "the key of a step is not <uuid>/<number>");
  if (key.size() < kUuid + 2 || key[kUuid] != '/' || !is_uuid(key.substr(0, kUuid))) return wrong;
  std::string_view number = key.substr(kUuid + 1);
  if (number.ends_with('u')) number.remove_suffix(1);
  if (number.empty() || number.size() > 6) return wrong;
  if (!std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return wrong;
  return {};
}

Status validate_action(const v1::Action& action, const Policy& policy) {
  switch (action.kind_case()) {
    case v1::Action::kImportImage: return check_import(action.import_image(), policy);
    case v1::Action::kRemoveImage: return check_uid(action.remove_image().uid(), "the image's uid");
    case v1::Action::kPrepareGuest: return check_spec(action.prepare_guest().spec(), policy);
    case v1::Action::kRemoveGuestFiles: return check_target(action.remove_guest_files(), policy);
    case v1::Action::kDefineGuest: return check_spec(action.define_guest().spec(), policy);
    case v1::Action::kUndefineGuest: return check_target(action.undefine_guest(), policy);
    case v1::Action::kStartGuest: return check_target(action.start_guest(), policy);
    case v1::Action::kStopGuest: return check_graceful(action.stop_guest(), policy);
    case v1::Action::kRebootGuest: return check_graceful(action.reboot_guest(), policy);
    case v1::Action::kPauseGuest: return check_target(action.pause_guest(), policy);
    case v1::Action::kResumeGuest: return check_target(action.resume_guest(), policy);
    case v1::Action::kUpdateGuest: return check_spec(action.update_guest().spec(), policy);
    case v1::Action::kSaveGuest: return check_target(action.save_guest(), policy);
    case v1::Action::kRestoreGuest: return check_target(action.restore_guest(), policy);
    case v1::Action::KIND_NOT_SET: break;
  }
  return bad("BAD_ACTION", "this agent does not know the action").remedy("update the agent");
}

std::string subject_of(const v1::Action& action) {
  switch (action.kind_case()) {
    case v1::Action::kImportImage: return "images/" + action.import_image().uid();
    case v1::Action::kRemoveImage: return "images/" + action.remove_image().uid();
    case v1::Action::kPrepareGuest: return "guests/" + action.prepare_guest().spec().uid();
    case v1::Action::kRemoveGuestFiles: return "guests/" + action.remove_guest_files().uid();
    case v1::Action::kDefineGuest: return "guests/" + action.define_guest().spec().uid();
    case v1::Action::kUndefineGuest: return "guests/" + action.undefine_guest().uid();
    case v1::Action::kStartGuest: return "guests/" + action.start_guest().uid();
    case v1::Action::kStopGuest: return "guests/" + action.stop_guest().uid();
    case v1::Action::kRebootGuest: return "guests/" + action.reboot_guest().uid();
    case v1::Action::kPauseGuest: return "guests/" + action.pause_guest().uid();
    case v1::Action::kResumeGuest: return "guests/" + action.resume_guest().uid();
    case v1::Action::kUpdateGuest: return "guests/" + action.update_guest().spec().uid();
    case v1::Action::kSaveGuest: return "guests/" + action.save_guest().uid();
    case v1::Action::kRestoreGuest: return "guests/" + action.restore_guest().uid();
    case v1::Action::KIND_NOT_SET: break;
  }
  return {};
}

}  // namespace reeve::agent
