// hypervisor_core/vm/save_convert.h - processor and interrupt controller state to and from saved
// messages.
#pragma once

#include <span>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/accel/cpu_state.h"
#include "reeve/core/v1/saved_state.pb.h"

namespace reeve::core {

void to_saved(const accel::CpuState& in, v1::SavedVcpu& out);
/// InvalidArgument/STATE_FORMAT when a list has the wrong length.
Result<accel::CpuState> from_saved(const v1::SavedVcpu& in);
void to_saved(const accel::InterruptControllerState& in, v1::SavedInterrupts& out);
/// InvalidArgument/STATE_FORMAT.
Result<accel::InterruptControllerState> from_saved(const v1::SavedInterrupts& in);
void to_saved(std::span<const accel::CpuidLeaf> in, v1::SavedCpuid& out);
/// InvalidArgument/STATE_FORMAT when there are more leaves than any accelerator takes.
Result<std::vector<accel::CpuidLeaf>> from_saved(const v1::SavedCpuid& in);

}  // namespace reeve::core
