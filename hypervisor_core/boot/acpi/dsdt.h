// hypervisor_core/boot/acpi/dsdt.h - the devices that a guest cannot find by itself, as AML.
#pragma once

#include <string>

#include "hypervisor_core/boot/acpi/tables.h"

namespace reeve::core::boot {

std::string build_dsdt_body(const AcpiMachine& machine);

}  // namespace reeve::core::boot
