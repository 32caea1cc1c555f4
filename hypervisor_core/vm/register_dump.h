// hypervisor_core/vm/register_dump.h - a vCPU's registers as text, for exit reports.
#pragma once

#include <string>

#include "hypervisor_core/accel/cpu_state.h"

namespace reeve::core {

std::string register_dump(const accel::GeneralRegisters& general,
                          const accel::SystemRegisters& system);

}  // namespace reeve::core
