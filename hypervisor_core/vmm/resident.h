// hypervisor_core/vmm/resident.h - reeve-vmm as the agent's: a run directory, a control socket, a
// long life.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace reeve::core::vmm {

/// Runs the machine described in the run directory (control/client.h names the files) until it
/// ends. Blocks. The exit report is in the run directory then. FailedPrecondition/VMM_RUNS when
/// another process has this directory. With a `jail_uid` the process gives up its rights before
/// guest code runs (sandbox/sandbox.h): the run directory is its root and its own then.
struct Residence {
  std::string run_dir{};
  std::uint32_t jail_uid = 0, jail_gid = 0;
};
Status run_resident(const Residence& residence);

}  // namespace reeve::core::vmm
