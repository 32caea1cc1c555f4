// hypervisor_core/vmm/flags.h - the command line of reeve-vmm.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::vmm {

struct Flags {
  /// Set: the agent's mode. Empty: `machine` runs in the foreground.
  std::string run_dir{};
  v1::MachineConfig machine{};
  /// Not 0: what the process becomes before guest code runs (agent's mode).
  std::uint32_t jail_uid = 0, jail_gid = 0;
  bool help = false;
};

extern const char* const kUsage;

/// InvalidArgument/BAD_FLAGS.
Result<Flags> parse_flags(std::span<const char* const> arguments);

}  // namespace reeve::core::vmm
