// db/model/vm.h - a virtual machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "db/model/object.h"

namespace reeve::db {

struct Vm : ObjectHead {
  std::string host_uid{};        ///< empty while it is placed nowhere
  std::string hypervisor_uid{};  ///< empty while it is placed nowhere
  std::string state{};
  std::int64_t cpus = 0;
  std::int64_t memory_mib = 0;
  std::string origin{};  ///< how it came to be: "created", "adopted", ...
  std::string spec{};
  std::string status{};
  std::optional<WallTime> status_observed_at{};
};

/// What a machine is made with that others may ask for; from its spec.
struct VmDevices {
  std::vector<std::string> macs{};
  std::vector<std::string> image_uids{};
};

/// What the machines placed on one host add up to.
struct HostLoad {
  std::string host_uid{};
  std::int64_t vms = 0;
  std::int64_t cpus = 0;
  std::int64_t memory_mib = 0;
};

}  // namespace reeve::db
