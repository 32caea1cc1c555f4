// hypervisor_core/cpu/cpuid_match.h - can this host keep what CPUID promised to a guest elsewhere?
// Sources: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux, kvm_para.h.
#pragma once

#include <span>

#include "base/status.h"
#include "hypervisor_core/accel/cpu_state.h"

namespace reeve::core::cpu {

/// `promised` is what one vCPU was shown, `offered` what this host would show it. Every feature bit
/// of the first must be in the second; the vendor, the hypervisor's name and the layout of the
/// XSAVE area must be the same, and addresses at most as wide. The rest (model, caches, topology,
/// frequencies) only informs and may differ. FailedPrecondition/CPU_FEATURE names what is missing.
Status match_cpuid(std::span<const accel::CpuidLeaf> promised,
                   std::span<const accel::CpuidLeaf> offered);

}  // namespace reeve::core::cpu
