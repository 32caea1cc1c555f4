// db/model/hypervisor.h - one connection of an agent to something that runs machines.
#pragma once

#include <optional>
#include <string>

#include "db/model/object.h"

namespace reeve::db {

/// Its name is unique on its host.
struct Hypervisor : ObjectHead {
  std::string host_uid{};
  std::string kind{};  ///< "core", "libvirt", "sim"
  std::string state{};
  std::string spec{};
  std::string status{};
  std::optional<WallTime> status_observed_at{};
};

}  // namespace reeve::db
