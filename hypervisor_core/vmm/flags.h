// hypervisor_core/vmm/flags.h - the command line of reeve-vmm.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::vmm {

struct Flags {
  /// Set: the agent's mode. Empty: `machine` runs in the foreground.
  std::string run_dir{};
  v1::MachineConfig machine{};
  /// What a process of root becomes before guest code runs; 0: a user made from the machine's UUID.
  std::uint32_t jail_uid = 0, jail_gid = 0;
  bool jailed = true;
  bool paused = false;  ///< the agent's mode: a restored machine waits for `resume`
  /// Folders of control groups that the process joins before anything else.
  std::vector<std::string> cgroups{};
  bool help = false;
};

const char* usage();

/// InvalidArgument/BAD_FLAGS.
Result<Flags> parse_flags(std::span<const char* const> arguments);

}  // namespace reeve::core::vmm
