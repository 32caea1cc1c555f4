// hypervisor_core/cpu/cpuid.h - shapes what the accelerator supports into the CPUID of one vCPU.
// Sources: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hypervisor_core/accel/cpu_state.h"

namespace reeve::core::cpu {

/// One socket of `vcpus` cores without hyper-threads. `id` is the vCPU and its APIC id.
/// Hides nested virtualisation and the performance counters, shows that there is a hypervisor.
std::vector<accel::CpuidLeaf> shape_cpuid(std::span<const accel::CpuidLeaf> supported,
                                          std::uint32_t id, std::uint32_t vcpus);

}  // namespace reeve::core::cpu
