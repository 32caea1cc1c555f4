// agent/executor/policy.h - what this host lets a server ask for. Every action is held against it
// as if the server were hostile: the agent runs as root, the server does not get to be.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "reeve/agent/v1/step.pb.h"

namespace reeve::agent {

struct Policy {
  std::set<std::string, std::less<>> hypervisors{};  ///< ids that exist
  std::set<std::string, std::less<>> bridges{};      ///< a nic on another bridge is refused
  bool any_bridge = false;                           ///< true: any well-formed bridge name
  std::int32_t max_cpus = 1024;
  std::int64_t max_memory_mib = std::int64_t{64} << 20;
  std::int64_t max_disk_bytes = std::int64_t{64} << 40;
  std::int64_t max_upload_bytes = std::int64_t{8} << 40;
};

inline constexpr std::size_t kMaxSeedBytes = 1u << 20;  ///< user-data; the others a quarter of it
inline constexpr int kMaxGuestDisks = 16;
inline constexpr int kMaxGuestNics = 8;
inline constexpr std::size_t kMaxCommandLine = 2048;
inline constexpr std::int64_t kMaxGraceMs = 24 * 3600 * 1000;

/// InvalidArgument/BAD_STEP_KEY unless `key` is "<uuid>/<number>" with an optional "u".
Status validate_key(std::string_view key);

/// InvalidArgument: BAD_ACTION, BAD_UID, BAD_NAME, BAD_GUEST, BAD_DISK, BAD_NIC, BAD_SEED,
/// BAD_PATH, BAD_DIGEST. PermissionDenied/BRIDGE_REFUSED, NotFound/HYPERVISOR_NOT_FOUND. Messages
/// name the field.
Status validate_action(const v1::Action& action, const Policy& policy);

/// What a step works on, so that steps on one thing take turns: "guests/<uid>" or "images/<uid>".
std::string subject_of(const v1::Action& action);

}  // namespace reeve::agent
