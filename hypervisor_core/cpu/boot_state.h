// hypervisor_core/cpu/boot_state.h - the registers a vCPU starts with.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/boot/loader.h"

namespace reeve::core::cpu {

/// What firmware leaves in the MSRs of every processor.
std::vector<accel::Msr> initial_msrs();

/// Makes the first vCPU start at `entry`; its descriptor table is written at boot::kGdt.
Status enter_image(accel::Vcpu& vcpu, GuestMemory& memory, const boot::Entry& entry);

}  // namespace reeve::core::cpu
