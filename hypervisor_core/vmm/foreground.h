// hypervisor_core/vmm/foreground.h - runs a machine with its console on standard input and output.
#pragma once

#include "base/status.h"
#include "hypervisor_core/vmm/cell.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::vmm {

/// Returns the exit code of the process: 0 when the guest powered off, its code (value * 2 + 1, as
/// isa-debug-exit has it) after a debug exit, 3 for a reset, 4 for everything else. Blocks.
Result<int> run_in_foreground(v1::MachineConfig config, const CellOptions& cell);

}  // namespace reeve::core::vmm
