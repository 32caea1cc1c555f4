// hypervisor_core/vmm/resident.h - reeve-vmm as the agent's: a run directory, a control socket, a
// long life.
#pragma once

#include <string>

#include "base/status.h"

namespace reeve::core::vmm {

/// Runs the machine described in `run_dir` (control/client.h names the files) until it ends.
/// Blocks. The exit report is in the run directory then. FailedPrecondition/VMM_RUNS when another
/// process has this directory.
Status run_resident(const std::string& run_dir);

}  // namespace reeve::core::vmm
