// db/model/token.h - secrets that admit someone. Only their hashes are stored.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"

namespace reeve::db {

/// Admits one host, once.
struct EnrollToken {
  std::string hash{};  ///< hex
  std::string actor{};
  std::string host_name{};  ///< the only name it may enrol; empty for any
  WallTime create_time{};
  WallTime expire_time{};
  std::optional<WallTime> use_time{};
  std::string used_by_host_uid{};
};

struct ApiToken {
  std::string uid{};
  std::string name{};
  std::string hash{};  ///< hex, unique
  std::string role{};
  std::string actor{};  ///< who made it
  WallTime create_time{};
  std::optional<WallTime> last_use_time{};
  std::optional<WallTime> expire_time{};
  std::optional<WallTime> revoke_time{};
};

}  // namespace reeve::db
