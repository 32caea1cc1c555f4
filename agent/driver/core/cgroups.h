// agent/driver/core/cgroups.h - what each machine may take of the host: a control group per
// machine.
//
// Both layouts: version 2 (one tree), and version 1 where the controllers are trees of their own,
// also beside an empty version 2 (systemd's "hybrid"). Source: kernel, admin-guide/cgroup-v2,
// cgroup-v1/memory, scheduler/sched-bwc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "reeve/core/v1/guest_record.pb.h"

namespace reeve::agent::core_driver {

struct Limits {
  std::uint32_t cpu_weight = 100;       ///< against others, 1 to 10000
  std::uint32_t cpu_limit_percent = 0;  ///< of one processor; 0 for none
  std::uint64_t memory_bytes = 0;       ///< 0 for none
};

/// What a machine of this size needs at most: its memory and what the vmm process takes beside it,
/// its vCPUs and one processor more for its devices. Machines share in proportion to their vCPUs.
Limits limits_of(std::uint32_t vcpus, std::uint64_t memory_mib);
/// Of what runs, with the record's own limits in place of those. The memory that runs is never cut.
Limits limits_of(const core::v1::GuestRecord& record);

class Cgroups {
 public:
  enum class Layout : std::uint8_t { None, V1, V2 };

  /// `root` is where the kernel's are mounted.
  static Cgroups find(std::string root = "/sys/fs/cgroup");
  Layout layout() const { return layout_; }

  /// Makes the groups of a machine, or sets their limits anew, and returns their folders: a process
  /// joins each by writing "0" to its cgroup.procs. Empty without a layout. Errors of the files,
  /// with the limit that could not be set.
  Result<std::vector<std::string>> make(const std::string& uid, const Limits& limits) const;
  /// Puts a process that runs already into `folders`.
  static Status join(const std::vector<std::string>& folders, int pid);
  /// Removes them; fine when absent. Waits up to a second for processes that are about to end; a
  /// group with another one in it stays.
  void remove(const std::string& uid) const;

 private:
  Cgroups(std::string root, Layout layout) : root_(std::move(root)), layout_(layout) {}
  std::vector<std::string> folders_of(const std::string& uid) const;

  std::string root_;
  Layout layout_;
};

}  // namespace reeve::agent::core_driver
