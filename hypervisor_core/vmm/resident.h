// hypervisor_core/vmm/resident.h - reeve-vmm as the agent's: a run directory, a control socket, a
// long life.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "hypervisor_core/vmm/cell.h"

namespace reeve::core::vmm {

struct Residence {
  std::string run_dir{};
  CellOptions cell{};
  std::vector<std::string> cgroups{};  ///< folders of control groups to join first
  bool paused = false;                 ///< a restored machine runs nothing before it is told to
};
/// Runs the machine described in the run directory (control/client.h names the files) until it
/// ends. Blocks. The exit report is in the run directory then, also when the process crashed.
/// FailedPrecondition/VMM_RUNS when another process has this directory. In a jail
/// (sandbox/jail.h) the run directory is the root folder; it belongs to root, and the machine's
/// user makes files in it: read them without following links.
Status run_resident(const Residence& residence);

}  // namespace reeve::core::vmm
