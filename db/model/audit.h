// db/model/audit.h - one entry of the audit log.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace reeve::db {

/// Entries form a chain: `hash` covers every field here and `prev_hash`, the hash of the entry
/// before.
struct AuditEntry {
  std::int64_t seq = 0;  ///< 1, 2, 3, ... without gaps; set by append
  WallTime time{};
  std::string actor{};
  std::string peer{};  ///< address the call came from
  std::string method{};
  std::string resource{};
  std::string request_id{};
  std::string job_uid{};
  std::string summary{};  ///< the diff or request, without secrets
  int code = 0;           ///< outcome; 0 for success
  std::string reason{};
  std::string prev_hash{};  ///< hex; set by append
  std::string hash{};       ///< hex; set by append
};
}  // namespace reeve::db
