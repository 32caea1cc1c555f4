#include "hypervisor_core/boot/acpi/dsdt.h"

#include "hypervisor_core/boot/acpi/aml.h"
#include "hypervisor_core/boot/low_memory.h"
#include "hypervisor_core/chipset/acpi_hardware.h"

namespace reeve::core::boot {
namespace {

using aml::Term;

/// The PCI root. _OSC grants what is asked: nothing else in the machine wants those features.
Term pci_root(const AcpiMachine& machine) {
  std::vector<Term> windows{aml::bus_range(0, 0), aml::io_ports(0xcf8, 8),
                            aml::io_window(0x0000, 0x0cf7), aml::io_window(0x0d00, 0xffff),
                            aml::memory_window32(static_cast<std::uint32_t>(kPciWindow32.base),
                                                 static_cast<std::uint32_t>(kPciWindow32.size))};
  if (machine.pci_window64.size != 0)
    windows.push_back(aml::memory_window64(machine.pci_window64.base, machine.pci_window64.size));
  return aml::device(
      "PCI0", aml::name("_HID", aml::eisa_id("PNP0A08")) +
                  aml::name("_CID", aml::eisa_id("PNP0A03")) + aml::name("_SEG", aml::integer(0)) +
                  aml::name("_BBN", aml::integer(0)) + aml::name("_UID", aml::integer(0)) +
                  aml::name("_CRS", aml::resources(windows)) +
                  aml::method("_OSC", 4, aml::give_back(aml::argument(3))));
}

/// Says that the ECAM window and our fixed ports are taken; Linux uses ECAM only then.
Term motherboard() {
  return aml::device(
      "MBRD", aml::name("_HID", aml::eisa_id("PNP0C02")) + aml::name("_UID", aml::integer(1)) +
                  aml::name("_CRS", aml::resources(
                                        {aml::fixed_memory(static_cast<std::uint32_t>(kEcam.base),
                                                           static_cast<std::uint32_t>(kEcam.size)),
                                         aml::io_ports(AcpiPorts::kBase, AcpiPorts::kSize)})));
}

Term serial_port() {
  return aml::device(
      "COM1", aml::name("_HID", aml::eisa_id("PNP0501")) + aml::name("_UID", aml::integer(1)) +
                  aml::name("_STA", aml::integer(0xf)) +
                  aml::name("_CRS", aml::resources({aml::io_ports(0x3f8, 8), aml::interrupt(4)})));
}

Term clock() {
  return aml::device("RTC_", aml::name("_HID", aml::eisa_id("PNP0B00")) +
                                 aml::name("_CRS", aml::resources({aml::io_ports(0x70, 2)})));
}

Term panic_port() {
  return aml::device("PEVT", aml::name("_HID", aml::text("QEMU0001")) +
                                 aml::name("_STA", aml::integer(0xf)) +
                                 aml::name("_CRS", aml::resources({aml::io_ports(0x505, 1)})));
}

/// Source: Microsoft, Virtual Machine Generation ID (2012).
Term generation_id() {
  return aml::device("VGEN",
                     aml::name("_HID", aml::text("RVGN0001")) +
                         aml::name("_CID", aml::text("VM_GEN_COUNTER")) +
                         aml::name("_DDN", aml::text("VM_GEN_COUNTER")) +
                         aml::name("ADDR", aml::package({aml::integer(kGenerationId & 0xffffffff),
                                                         aml::integer(kGenerationId >> 32)})));
}

}  // namespace

std::string build_dsdt_body(const AcpiMachine& machine) {
  const auto s5 = aml::integer(AcpiPorts::kSleepTypeS5);
  const auto none = aml::integer(0);
  return aml::name("\\_S5_", aml::package({s5, s5, none, none})) +
         aml::scope("\\_SB_", pci_root(machine) + motherboard() + serial_port() + clock() +
                                  panic_port() + generation_id()) +
         aml::scope("\\_GPE", aml::method("_E05", 0, aml::notify("\\_SB_.VGEN", 0x80)));
}

}  // namespace reeve::core::boot
