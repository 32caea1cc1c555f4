// cli/commands/vm_limits.h - what the options say that bound what a machine takes of its host.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "reeve/v1/vm.pb.h"

namespace reeve::cli {

/// As typed; empty what was not given.
struct LimitArguments {
  std::string cpu_weight{};
  std::string cpu_limit{};
  std::string memory_limit{};
};

/// Fills what was given and returns the paths of those fields, relative to the machine.
/// InvalidArgument/USAGE.
Result<std::vector<std::string>> fill_limits(const LimitArguments& arguments,
                                             v1::ResourceLimits& limits);

}  // namespace reeve::cli
