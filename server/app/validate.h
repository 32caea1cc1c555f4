// server/app/validate.h - what request fields may hold. One pass collects every wrong field.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/field_mask.pb.h>

#include "base/status.h"
#include "reeve/v1/image.pb.h"
#include "reeve/v1/image_service.pb.h"
#include "reeve/v1/vm.pb.h"

namespace reeve::server {

// The agent refuses the same (agent/executor/policy.h).
inline constexpr int kMaxCpuWeight = 10'000;
inline constexpr int kMaxCpuLimitPercent = 25'700;
/// What the process of a machine needs beside the machine's memory.
inline constexpr std::int64_t kMemoryBesideMib = 128;
inline constexpr int kMaxDisks = 16;
inline constexpr int kMaxNics = 8;
inline constexpr int kMaxCpus = 256;
inline constexpr std::int64_t kMinMemoryMib = 32;
inline constexpr std::int64_t kMaxMemoryMib = std::int64_t{64} << 20;
inline constexpr std::int64_t kMaxDiskBytes = std::int64_t{64} << 40;
inline constexpr std::size_t kMaxUserData = 1U << 20;
inline constexpr std::size_t kMaxSeedPart = 256U << 10;
inline constexpr std::size_t kMaxCommandLine = 2048;
inline constexpr std::size_t kMaxDescription = 4096;
inline constexpr int kMaxLabels = 64;
inline constexpr std::chrono::seconds kMaxGrace{24 * 3600};

/// Collects wrong fields and says them all at once.
class FieldCheck {
 public:
  void wrong(std::string field, std::string problem) {
    violations_.emplace_back(std::move(field), std::move(problem));
  }
  bool require(bool right, std::string_view field, std::string_view problem) {
    if (!right) wrong(std::string(field), std::string(problem));
    return right;
  }
  /// InvalidArgument/BAD_FIELD with a violation per field.
  Status outcome() const;

 private:
  std::vector<std::pair<std::string, std::string>> violations_;
};

/// 1 to 63 letters, digits, '-', '_' or '.', starting with a letter or digit.
bool is_display_name(std::string_view text);
/// `[a-z0-9]{1,16}`.
bool is_device_id(std::string_view text);
/// `[a-z0-9-]{1,32}`, as agents name their hypervisors.
bool is_hypervisor_id(std::string_view text);
/// Lower-case with colons, unicast.
bool is_mac(std::string_view text);
bool is_bridge_name(std::string_view text);

void check_display_name(FieldCheck& check, std::string_view field, std::string_view text);
void check_description(FieldCheck& check, std::string_view field, std::string_view text);
void check_labels(FieldCheck& check, std::string_view field,
                  const google::protobuf::Map<std::string, std::string>& labels);
void check_request_id(FieldCheck& check, std::string_view request_id);
void check_grace(FieldCheck& check, std::string_view field,
                 const google::protobuf::Duration& grace);
void check_cpus(FieldCheck& check, std::int32_t cpus);
void check_memory(FieldCheck& check, std::int64_t memory_mib);
void check_cpu_weight(FieldCheck& check, std::int32_t weight);
void check_cpu_limit(FieldCheck& check, std::int32_t percent);
/// Of a machine with `memory_mib`.
void check_memory_limit(FieldCheck& check, std::int64_t limit_mib, std::int64_t memory_mib);

/// Everything about a machine to be created that needs no inventory.
Status check_new_vm(const v1::VirtualMachine& vm, std::string_view request_id);
/// The same for an image.
Status check_import(const v1::ImportImageRequest& request);

/// Paths of `mask` that are not in `known`: InvalidArgument/BAD_MASK; so is an empty mask.
Status check_mask(const google::protobuf::FieldMask& mask, const std::vector<std::string>& known);
bool has_path(const google::protobuf::FieldMask& mask, std::string_view path);

}  // namespace reeve::server
