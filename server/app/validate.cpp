#include "server/app/validate.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "base/uuid.h"
#include "server/app/errors.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// UTF-8 on one line.
bool is_line(std::string_view text) {
  return is_utf8(text) && std::ranges::none_of(text, [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

bool is_hex_digest(std::string_view text) {
  constexpr std::size_t kSha256Hex = 64;
  return text.size() == kSha256Hex && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

void check_reference(FieldCheck& check, const std::string& field, std::string_view name,
                     std::string_view collection) {
  if (!uid_of(name, collection, field).ok())
    check.wrong(field, "must be " + std::string(collection) + "/{uid}");
}

void check_disks(FieldCheck& check, const v1::VmSpec& spec) {
  check.require(spec.disks_size() <= kMaxDisks, "vm.spec.disks", "has more than 16 entries");
  std::set<std::string_view> ids;
  for (int i = 0; i < std::min(spec.disks_size(), kMaxDisks); ++i) {
    const auto& disk = spec.disks(i);
    const std::string field = "vm.spec.disks[" + std::to_string(i) + "]";
    if (!disk.id().empty()) {
      check.require(is_device_id(disk.id()), field + ".id", "must be 1 to 16 of a-z and 0-9");
      check.require(ids.insert(disk.id()).second, field + ".id", "appears twice");
    }
    check.require(disk.size_bytes() >= 0 && disk.size_bytes() <= kMaxDiskBytes,
                  field + ".size_bytes", "must be between 0 and 64 TiB");
    check.require(disk.size_bytes() % 512 == 0, field + ".size_bytes", "must be a multiple of 512");
    check.require(v1::DiskFormat_IsValid(disk.format()), field + ".format", "is unknown");
    if (disk.image().empty()) {
      check.require(disk.size_bytes() > 0, field + ".size_bytes", "is required without an image");
    } else {
      check_reference(check, field + ".image", disk.image(), "images");
      check.require(disk.format() != v1::DISK_FORMAT_RAW, field + ".format",
                    "must be qcow2 for a disk that begins as an image");
    }
  }
}

void check_nics(FieldCheck& check, const v1::VmSpec& spec) {
  check.require(spec.nics_size() <= kMaxNics, "vm.spec.nics", "has more than 8 entries");
  std::set<std::string_view> ids;
  std::set<std::string_view> macs;
  for (int i = 0; i < std::min(spec.nics_size(), kMaxNics); ++i) {
    const auto& nic = spec.nics(i);
    const std::string field = "vm.spec.nics[" + std::to_string(i) + "]";
    if (!nic.id().empty()) {
      check.require(is_device_id(nic.id()), field + ".id", "must be 1 to 16 of a-z and 0-9");
      check.require(ids.insert(nic.id()).second, field + ".id", "appears twice");
    }
    if (!nic.mac().empty()) {
      check.require(is_mac(nic.mac()), field + ".mac",
                    "must be a unicast address such as 52:54:00:12:34:56, in lower case");
      check.require(macs.insert(nic.mac()).second, field + ".mac", "appears twice");
    }
    check.require(nic.bridge().empty() || is_bridge_name(nic.bridge()), field + ".bridge",
                  "must be 1 to 15 letters, digits, '-', '_' or '.'");
  }
}

void check_boot(FieldCheck& check, const v1::BootSpec& boot) {
  check_reference(check, "vm.spec.boot.kernel", boot.kernel(), "images");
  if (!boot.initrd().empty())
    check_reference(check, "vm.spec.boot.initrd", boot.initrd(), "images");
  check.require(boot.command_line().size() <= kMaxCommandLine && is_line(boot.command_line()),
                "vm.spec.boot.command_line", "must be one line of at most 2048 bytes");
}

void check_seed(FieldCheck& check, const v1::CloudInit& seed) {
  const auto part = [&](std::string_view field, const std::string& text, std::size_t limit,
                        std::string_view limit_text) {
    const std::string path = "vm.spec.cloud_init." + std::string(field);
    check.require(text.size() <= limit, path, "is larger than " + std::string(limit_text));
    check.require(is_utf8(text) && text.find('\0') == std::string::npos, path, "is not UTF-8 text");
  };
  part("user_data", seed.user_data(), kMaxUserData, "1 MiB");
  part("meta_data", seed.meta_data(), kMaxSeedPart, "256 KiB");
  part("network_config", seed.network_config(), kMaxSeedPart, "256 KiB");
}

}  // namespace

Status FieldCheck::outcome() const {
  if (violations_.empty()) return {};
  auto error = bad_field(violations_.front().first, violations_.front().second);
  for (const auto& [field, problem] : violations_)
    error = std::move(error).with("field:" + field, problem);
  return error;
}

bool is_display_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_letter_or_digit(text.front()) &&
         std::ranges::all_of(text, [](char c) {
           return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_device_id(std::string_view text) {
  return !text.empty() && text.size() <= 16 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

bool is_hypervisor_id(std::string_view text) {
  return !text.empty() && text.size() <= 32 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool is_mac(std::string_view text) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (i % 3 == 2 ? c != ':' : !hex) return false;
  }
  return std::string_view("02468ace").find(text[1]) != std::string_view::npos &&
         text != "00:00:00:00:00:00";
}

bool is_bridge_name(std::string_view text) {
  return !text.empty() && text.size() <= 15 && text != "." && text != ".." &&
         std::ranges::all_of(text, [](char c) {
           return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}

void check_display_name(FieldCheck& check, std::string_view field, std::string_view text) {
  check.require(is_display_name(text), field,
                text.empty() ? "is required"
                             : "must be 1 to 63 letters, digits, '-', '_' or '.', starting with a "
                               "letter or digit");
}

void check_description(FieldCheck& check, std::string_view field, std::string_view text) {
  check.require(text.size() <= kMaxDescription, field, "is longer than 4096 bytes");
}

void check_labels(FieldCheck& check, std::string_view field,
                  const google::protobuf::Map<std::string, std::string>& labels) {
  check.require(labels.size() <= kMaxLabels, field, "has more than 64 entries");
  for (const auto& [key, value] : labels) {
    check.require(is_display_name(key), field,
                  "has a key that is not 1 to 63 letters, digits, '-', '_' or '.'");
    check.require(value.size() <= 255 && is_line(value), field,
                  "has a value that is not one line of at most 255 bytes");
  }
}

void check_request_id(FieldCheck& check, std::string_view request_id) {
  check.require(request_id.empty() || is_uuid(request_id), "request_id",
                "must be a lower-case UUID");
}

void check_grace(FieldCheck& check, std::string_view field,
                 const google::protobuf::Duration& grace) {
  check.require(grace.seconds() >= 0 && grace.nanos() >= 0 &&
                    grace.seconds() <= kMaxGrace.count() && grace.nanos() < 1'000'000'000,
                field, "must be between 0 and 24 hours");
}

void check_cpus(FieldCheck& check, std::int32_t cpus) {
  check.require(cpus >= 1 && cpus <= kMaxCpus, "vm.spec.cpus", "must be between 1 and 256");
}

void check_memory(FieldCheck& check, std::int64_t memory_mib) {
  check.require(memory_mib >= kMinMemoryMib && memory_mib <= kMaxMemoryMib, "vm.spec.memory_mib",
                "must be between 32 MiB and 64 TiB");
}

void check_cpu_weight(FieldCheck& check, std::int32_t weight) {
  check.require(weight >= 0 && weight <= kMaxCpuWeight, "vm.spec.limits.cpu_weight",
                "must be between 1 and 10000, or 0 for the default");
}

void check_cpu_limit(FieldCheck& check, std::int32_t percent) {
  check.require(percent >= 0 && percent <= kMaxCpuLimitPercent, "vm.spec.limits.cpu_limit_percent",
                "must be between 1 and 25700 percent of one processor, or 0 for the default");
}

void check_memory_limit(FieldCheck& check, std::int64_t limit_mib, std::int64_t memory_mib) {
  if (limit_mib == 0) return;
  const std::int64_t least = memory_mib + kMemoryBesideMib;
  check.require(limit_mib >= least && limit_mib <= kMaxMemoryMib, "vm.spec.limits.memory_limit_mib",
                "must be between " + std::to_string(least) + " MiB (the machine's memory and " +
                    std::to_string(kMemoryBesideMib) +
                    " MiB for its process) and 64 TiB, or 0 for the default");
}

Status check_new_vm(const v1::VirtualMachine& vm, std::string_view request_id) {
  FieldCheck check;
  check_display_name(check, "vm.display_name", vm.display_name());
  check_description(check, "vm.description", vm.description());
  check_labels(check, "vm.labels", vm.labels());
  check_request_id(check, request_id);
  const auto& spec = vm.spec();
  check_cpus(check, spec.cpus());
  check_memory(check, spec.memory_mib());
  check_cpu_weight(check, spec.limits().cpu_weight());
  check_cpu_limit(check, spec.limits().cpu_limit_percent());
  check_memory_limit(check, spec.limits().memory_limit_mib(), spec.memory_mib());
  if (!spec.host().empty()) check_reference(check, "vm.spec.host", spec.host(), "hosts");
  check.require(spec.hypervisor().empty() || is_hypervisor_id(spec.hypervisor()),
                "vm.spec.hypervisor", "must be 1 to 32 of a-z, 0-9 and '-'");
  check_disks(check, spec);
  check_nics(check, spec);
  if (spec.has_boot()) check_boot(check, spec.boot());
  check.require(spec.has_boot() || spec.disks_size() > 0, "vm.spec.disks",
                "is required without vm.spec.boot: there is nothing to boot from");
  if (spec.has_cloud_init()) check_seed(check, spec.cloud_init());
  return check.outcome();
}

Status check_import(const v1::ImportImageRequest& request) {
  FieldCheck check;
  const auto& image = request.image();
  check_display_name(check, "image.display_name", image.display_name());
  check_description(check, "image.description", image.description());
  check_labels(check, "image.labels", image.labels());
  check_request_id(check, request.request_id());
  const bool kind_known =
      v1::Image::Kind_IsValid(image.kind()) && image.kind() != v1::Image::KIND_UNSPECIFIED;
  check.require(kind_known, "image.kind", "is required");
  if (image.kind() == v1::Image::KIND_DISK)
    check.require(image.format() == v1::DISK_FORMAT_RAW || image.format() == v1::DISK_FORMAT_QCOW2,
                  "image.format", "is required for a disk: it is never guessed");
  else
    check.require(image.format() != v1::DISK_FORMAT_QCOW2, "image.format", "must be raw or unset");
  check.require(image.sha256().empty() || is_hex_digest(image.sha256()), "image.sha256",
                "must be 64 lower-case hexadecimal digits");
  if (!request.host().empty()) check_reference(check, "host", request.host(), "hosts");
  switch (request.source_case()) {
    case v1::ImportImageRequest::kHostPath: {
      const auto& path = request.host_path();
      check.require(path.starts_with('/') && path.size() < 4096 && path.find('\0') == path.npos &&
                        is_utf8(path),
                    "host_path", "must be an absolute path");
      break;
    }
    case v1::ImportImageRequest::kUploadBytes:
      check.require(request.upload_bytes() > 0 && request.upload_bytes() <= std::int64_t{8} << 40,
                    "upload_bytes", "must be between 1 byte and 8 TiB");
      break;
    case v1::ImportImageRequest::SOURCE_NOT_SET:
      check.wrong("source", "is required: host_path or upload_bytes");
  }
  return check.outcome();
}

Status check_mask(const google::protobuf::FieldMask& mask, const std::vector<std::string>& known) {
  const auto refuse = [&](const std::string& problem) {
    return Error(Code::InvalidArgument, "BAD_MASK", "update_mask " + problem)
        .remedy("name one or more of: " + join(known, ", "))
        .with("field:update_mask", problem);
  };
  if (mask.paths().empty()) return refuse("is required");
  for (const auto& path : mask.paths())
    if (std::ranges::find(known, path) == known.end())
      return refuse("names '" + path.substr(0, 64) + "', which cannot be changed");
  return {};
}

bool has_path(const google::protobuf::FieldMask& mask, std::string_view path) {
  return std::ranges::find(mask.paths(), path) != mask.paths().end();
}

}  // namespace reeve::server
