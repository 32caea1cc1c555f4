// hypervisor_core/boot/acpi/tables.h - the ACPI tables of the machine: RSDP, XSDT, FADT, FACS,
// DSDT, MADT, MCFG. Source: ACPI 6.4, chapter 5; PCI Firmware Specification 3.2 (MCFG).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::boot {

struct AcpiMachine {
  std::uint32_t vcpus = 1;
  MemoryRange pci_window64{};  ///< size 0: none
  bool has_debug_exit = false;
};

/// A finished table with its checksum, for tests that read it back.
struct AcpiTable {
  std::string signature{};
  std::string bytes{};
};

/// All tables but RSDP and FACS, linked for kRsdp's neighbourhood.
std::vector<AcpiTable> build_acpi_tables(const AcpiMachine& machine);

/// Writes the tables and the RSDP at kRsdp. ResourceExhausted/ACPI_TOO_LARGE,
/// ResourceExhausted/GUEST_MEMORY_TOO_SMALL.
Status write_acpi_tables(GuestMemory& memory, const AcpiMachine& machine);

}  // namespace reeve::core::boot
