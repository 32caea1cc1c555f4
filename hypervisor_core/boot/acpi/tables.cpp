#include "hypervisor_core/boot/acpi/tables.h"

#include <cstring>

#include "hypervisor_core/boot/acpi/dsdt.h"
#include "hypervisor_core/boot/low_memory.h"
#include "hypervisor_core/chipset/acpi_hardware.h"

namespace reeve::core::boot {
namespace {

constexpr Gpa kFacs = kRsdp + 0x40;  // 64-byte aligned
constexpr Gpa kFirstTable = kRsdp + 0x100;

/// Bytes in little-endian order.
class Writer {
 public:
  template <class T>
  Writer& put(std::uint64_t value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes_.push_back(static_cast<char>(value >> (8 * i) & 0xff));
    return *this;
  }
  Writer& u8(std::uint64_t v) { return put<std::uint8_t>(v); }
  Writer& u16(std::uint64_t v) { return put<std::uint16_t>(v); }
  Writer& u32(std::uint64_t v) { return put<std::uint32_t>(v); }
  Writer& u64(std::uint64_t v) { return put<std::uint64_t>(v); }
  Writer& text(std::string_view t) {
    bytes_ += t;
    return *this;
  }
  Writer& zeroes(std::size_t count) {
    bytes_.append(count, '\0');
    return *this;
  }
  /// Generic address structure of I/O ports (5.2.3.2).
  Writer& port(std::uint16_t address, std::uint8_t bits, std::uint8_t access) {
    return u8(1).u8(bits).u8(0).u8(access).u64(address);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

char checksum(std::string_view bytes) {
  unsigned sum = 0;
  for (const char c : bytes) sum += static_cast<unsigned char>(c);
  return static_cast<char>(0u - sum);
}

/// Puts the common header (5.2.6) before `body`.
AcpiTable table(std::string_view signature, std::uint8_t revision, const std::string& body) {
  Writer w;
  w.text(signature).u32(36 + body.size()).u8(revision).u8(0);
  w.text("REEVE ").text("REEVEVM ").u32(1).text("REEV").u32(1).text(body);
  std::string bytes = w.bytes();
  bytes[9] = checksum(bytes);
  return {std::string(signature), std::move(bytes)};
}

AcpiTable fadt(Gpa dsdt) {
  constexpr std::uint16_t base = AcpiPorts::kBase;
  constexpr std::uint32_t kWbinvd = 1 << 0, kC1 = 1 << 2, kNoSleepButton = 1 << 5,
                          kTimer32 = 1 << 8, kResetRegister = 1 << 10;
  constexpr std::uint16_t kLegacyDevices = 1, kNoVga = 1 << 2, kNoAspm = 1 << 4;
  Writer w;
  w.u32(kFacs).u32(dsdt).u8(0).u8(0).u16(AcpiPorts::kInterrupt);
  w.u32(0).u8(0).u8(0).u8(0).u8(0);  // no SMI command: always in ACPI mode
  w.u32(base + AcpiPorts::kPm1Event).u32(0).u32(base + AcpiPorts::kPm1Control).u32(0).u32(0);
  w.u32(base + AcpiPorts::kTimer).u32(base + AcpiPorts::kGpe0).u32(0);
  w.u8(4).u8(2).u8(0).u8(4).u8(4).u8(0).u8(0).u8(0);
  w.u16(0xfff).u16(0xfff).u16(0).u16(0).u8(0).u8(0);  // no C2, C3, throttling
  w.u8(0).u8(0).u8(0x32);                             // no clock alarm; century register
  w.u16(kLegacyDevices | kNoVga | kNoAspm).u8(0);
  w.u32(kWbinvd | kC1 | kNoSleepButton | kTimer32 | kResetRegister);
  w.port(base + AcpiPorts::kReset, 8, 1).u8(AcpiPorts::kResetValue).u16(0).u8(4);
  w.u64(0).u64(dsdt);  // X_FIRMWARE_CTRL must be zero beside FIRMWARE_CTRL
  w.port(base + AcpiPorts::kPm1Event, 32, 2).zeroes(12);
  w.port(base + AcpiPorts::kPm1Control, 16, 2).zeroes(12);
  w.zeroes(12).port(base + AcpiPorts::kTimer, 32, 3);
  w.port(base + AcpiPorts::kGpe0, 32, 2).zeroes(12);
  w.zeroes(24).u64(0x0045564545520000 >> 16);  // sleep registers; hypervisor vendor "REEVE"
  return table("FACP", 6, w.bytes());
}

AcpiTable madt(std::uint32_t vcpus) {
  constexpr std::uint16_t kActiveHighLevel = 0xd;
  Writer w;
  w.u32(static_cast<std::uint32_t>(kLocalApic.base)).u32(1);  // PC-AT: also has 8259s
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    if (i < 255)
      w.u8(0).u8(8).u8(i).u8(i).u32(1);
    else
      w.u8(9).u8(16).u16(0).u32(i).u32(1).u32(i);
  }
  w.u8(1).u8(12).u8(0).u8(0).u32(static_cast<std::uint32_t>(kIoApic.base)).u32(0);
  w.u8(2).u8(10).u8(0).u8(AcpiPorts::kInterrupt).u32(AcpiPorts::kInterrupt).u16(kActiveHighLevel);
  w.u8(4).u8(6).u8(0xff).u16(0).u8(1);  // NMI on lint 1 of every processor
  return table("APIC", 4, w.bytes());
}

AcpiTable mcfg() {
  Writer w;
  w.u64(0).u64(kEcam.base).u16(0).u8(0).u8(0).u32(0);
  return table("MCFG", 1, w.bytes());
}

std::string rsdp(Gpa xsdt) {
  Writer w;
  w.text("RSD PTR ").u8(0).text("REEVE ").u8(2).u32(0).u32(36).u64(xsdt).u8(0).zeroes(3);
  std::string bytes = w.bytes();
  bytes[8] = checksum(std::string_view(bytes).substr(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

std::string facs() {
  Writer w;
  w.text("FACS").u32(64).zeroes(24).u8(2).zeroes(31);
  return w.bytes();
}

constexpr Gpa aligned(Gpa address) {
  return (address + 15) / 16 * 16;
}

}  // namespace

std::vector<AcpiTable> build_acpi_tables(const AcpiMachine& machine) {
  std::vector<AcpiTable> tables;
  Gpa next = kFirstTable;
  Writer entries;
  const auto add = [&](AcpiTable t, bool listed) {
    if (listed) entries.u64(next);
    next = aligned(next + t.bytes.size());
    tables.push_back(std::move(t));
  };
  add(table("DSDT", 2, build_dsdt_body(machine)), false);
  add(fadt(kFirstTable), true);
  add(madt(machine.vcpus), true);
  add(mcfg(), true);
  tables.push_back(table("XSDT", 1, entries.bytes()));
  return tables;
}

Status write_acpi_tables(GuestMemory& memory, const AcpiMachine& machine) {
  const auto tables = build_acpi_tables(machine);
  bool ok = true;
  const auto put = [&](Gpa at, const std::string& bytes) {
    ok = ok && memory.write(at, std::as_bytes(std::span(bytes)));
  };
  Gpa next = kFirstTable;
  Gpa last = next;
  for (const auto& t : tables) {
    if (next + t.bytes.size() > kSmbios)
      return Error{Code::ResourceExhausted, "ACPI_TOO_LARGE", "the ACPI tables do not fit"};
    put(next, t.bytes);
    last = next;
    next = aligned(next + t.bytes.size());
  }
  put(kFacs, facs());
  put(kRsdp, rsdp(last));
  if (ok) return {};
  return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for ACPI tables"};
}

}  // namespace reeve::core::boot
