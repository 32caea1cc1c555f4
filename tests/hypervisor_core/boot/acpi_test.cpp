#include <fstream>
#include <sstream>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "hypervisor_core/boot/acpi/aml.h"
#include "hypervisor_core/boot/acpi/tables.h"
#include "hypervisor_core/boot/low_memory.h"
#include "hypervisor_core/boot/smbios.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::boot {
namespace {

AcpiMachine machine_of(std::uint32_t vcpus) {
  return {.vcpus = vcpus, .pci_window64 = pci_window64(512 * kMiB)};
}

unsigned sum_of(std::string_view bytes) {
  unsigned sum = 0;
  for (const char c : bytes) sum += static_cast<unsigned char>(c);
  return sum & 0xff;
}

/// What iasl makes of a table; fails the test on any error, warning or remark.
std::string disassemble(const AcpiTable& table) {
  const test::TempDir dir;
  const auto file = dir / (table.signature + ".dat");
  std::ofstream(file, std::ios::binary) << table.bytes;
  const auto done = run({.argv = {"iasl", "-d", file.string()}});
  REQUIRE(done.ok());
  INFO(done.value().output << done.value().errors);
  REQUIRE(done.value().exit_code == 0);
  CHECK(done.value().output.find("Warning") == std::string::npos);
  CHECK(done.value().errors.find("Error") == std::string::npos);
  std::ifstream in(dir / (table.signature + ".dsl"));
  std::stringstream text;
  text << in.rdbuf();
  if (table.signature == "DSDT") {
    const auto again = run({.argv = {"iasl", "-we", (dir / "DSDT.dsl").string()}});
    REQUIRE(again.ok());
    INFO(again.value().output << again.value().errors);
    CHECK(again.value().exit_code == 0);
    CHECK(again.value().output.find("0 Errors, 0 Warnings") != std::string::npos);
  }
  return text.str();
}

}  // namespace

TEST_CASE("iasl reads every table back without a complaint", "[acpi]") {
  for (const auto& table : build_acpi_tables(machine_of(4))) {
    INFO(table.signature);
    CHECK(sum_of(table.bytes) == 0);
    const auto text = disassemble(table);
    CHECK(text.find("Unknown") == std::string::npos);
    if (table.signature == "DSDT") {
      for (const auto* name :
           {"PNP0A08", "PNP0C02", "PNP0501", "PNP0B00", "QEMU0001", "VM_GEN_COUNTER", "_E05"})
        CHECK(text.find(name) != std::string::npos);
    }
    if (table.signature == "FACP") CHECK(text.find("Reset Register") != std::string::npos);
  }
}

TEST_CASE("the MADT names every processor", "[acpi]") {
  for (const std::uint32_t vcpus : {1u, 16u, 254u, 300u}) {
    const auto tables = build_acpi_tables(machine_of(vcpus));
    const auto& madt = tables[2];
    REQUIRE(madt.signature == "APIC");
    const std::size_t x2apic = vcpus > 255 ? vcpus - 255 : 0;
    CHECK(madt.bytes.size() == 44 + (vcpus - x2apic) * 8 + x2apic * 16 + 12 + 10 + 6);
  }
}

TEST_CASE("the tables land where the RSDP says", "[acpi]") {
  const MemoryRange range{0, 2 * kMiB};
  auto memory = GuestMemory::create(std::span(&range, 1));
  REQUIRE(memory.ok());
  REQUIRE(write_acpi_tables(*memory.value(), machine_of(16)).ok());
  std::string rsdp(36, '\0');
  REQUIRE(memory.value()->read(kRsdp, std::as_writable_bytes(std::span(rsdp))));
  CHECK(rsdp.substr(0, 8) == "RSD PTR ");
  CHECK(sum_of(rsdp) == 0);
  CHECK(sum_of(rsdp.substr(0, 20)) == 0);
  const auto xsdt = memory.value()->read_le<std::uint64_t>(kRsdp + 24).value();
  CHECK(memory.value()->read_le<std::uint32_t>(xsdt) == 0x54445358);
  const auto fadt = memory.value()->read_le<std::uint64_t>(xsdt + 36).value();
  CHECK(memory.value()->read_le<std::uint32_t>(fadt) == 0x50434146);
  const auto dsdt = memory.value()->read_le<std::uint64_t>(fadt + 140).value();
  CHECK(memory.value()->read_le<std::uint32_t>(dsdt) == 0x54445344);
  CHECK(memory.value()->read_le<std::uint32_t>(kRsdp + 0x40) == 0x53434146);
}

TEST_CASE("AML lengths grow with their content", "[acpi]") {
  CHECK(aml::scope("\\_SB_", "") == std::string("\x10\x06\\_SB_", 7));
  for (const std::size_t size : {50u, 70u, 5000u, 70000u}) {
    const auto term = aml::scope("\\_SB_", std::string(size, '\xa3'));
    const auto lead = static_cast<unsigned char>(term[1]);
    std::size_t length = lead & 0x3f;
    if (lead >> 6 != 0) {
      length = lead & 0xf;
      for (int i = 0; i < lead >> 6; ++i)
        length |= static_cast<std::size_t>(
                      static_cast<unsigned char>(term[2 + static_cast<std::size_t>(i)]))
                  << (4 + 8 * i);
    }
    CHECK(length == term.size() - 1);
  }
}

TEST_CASE("SMBIOS carries the machine's uuid and serial", "[smbios]") {
  const MemoryRange range{0, 2 * kMiB};
  auto memory = GuestMemory::create(std::span(&range, 1));
  REQUIRE(memory.ok());
  SmbiosIdentity identity{.serial = "ds=nocloud"};
  for (std::uint8_t i = 0; i < 16; ++i) identity.uuid[i] = i;
  REQUIRE(write_smbios(*memory.value(), identity).ok());
  std::string entry(24, '\0');
  REQUIRE(memory.value()->read(kSmbios, std::as_writable_bytes(std::span(entry))));
  CHECK(sum_of(entry) == 0);
  const auto tables = build_smbios(identity);
  CHECK(tables.find("ds=nocloud") != std::string::npos);
  CHECK(tables.find(std::string("\x03\x02\x01\x00\x05\x04\x07\x06\x08\x09", 10)) !=
        std::string::npos);
  identity.serial = "line\nbreak";
  CHECK(write_smbios(*memory.value(), identity).error().reason() == "SMBIOS_TEXT");
}

}  // namespace reeve::core::boot
