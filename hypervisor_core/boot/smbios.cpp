#include "hypervisor_core/boot/smbios.h"

#include <algorithm>
#include <initializer_list>

#include "hypervisor_core/boot/low_memory.h"

namespace reeve::core::boot {
namespace {

constexpr std::size_t kMaxText = 1024;

void put(std::string& out, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

/// One structure: header, formatted area, strings, double zero.
std::string structure(std::uint8_t type, std::uint16_t handle, const std::string& body,
                      std::initializer_list<std::string_view> texts) {
  std::string out;
  put(out, type, 1);
  put(out, 4 + body.size(), 1);
  put(out, handle, 2);
  out += body;
  for (const auto t : texts) {
    out += t;
    out.push_back('\0');
  }
  if (texts.size() == 0) out.push_back('\0');
  out.push_back('\0');
  return out;
}

std::string bios() {
  std::string body("\x01\x02", 2);  // vendor, version
  put(body, 0xe000, 2);
  put(body, 3, 1);       // release date: string 3
  put(body, 0, 1);       // 64 KiB
  put(body, 8, 8);       // "characteristics are not supported"
  put(body, 0x1c00, 2);  // extension: virtual machine
  put(body, 0xffffffff, 4);
  return structure(0, 0, body, {"Reeve", "1", "01/01/2026"});
}

std::string system(const SmbiosIdentity& identity) {
  std::string body("\x01\x02\x03", 3);
  put(body, identity.serial.empty() ? 0 : 4, 1);
  // The first three fields of the UUID are little-endian (7.2.1).
  constexpr std::size_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  for (const auto i : order) put(body, identity.uuid[i], 1);
  put(body, 6, 1);  // woken by the power switch
  put(body, 0, 2);
  if (identity.serial.empty()) return structure(1, 1, body, {"Reeve", "Reeve VM", "1"});
  return structure(1, 1, body, {"Reeve", "Reeve VM", "1", identity.serial});
}

std::string chassis() {
  std::string body("\x01\x01\x00\x00\x00", 5);  // manufacturer; type "other"
  put(body, 0x03030303, 4);                     // all states safe, no security
  put(body, 0, 8);
  return structure(3, 3, body, {"Reeve"});
}

}  // namespace

std::string build_smbios(const SmbiosIdentity& identity) {
  return bios() + system(identity) + chassis() + structure(127, 0x7f, "", {});
}

Status write_smbios(GuestMemory& memory, const SmbiosIdentity& identity) {
  const bool printable = std::all_of(identity.serial.begin(), identity.serial.end(),
                                     [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!printable || identity.serial.size() > kMaxText)
    return Error{Code::InvalidArgument, "SMBIOS_TEXT",
                 "the system serial is too long or not printable"};
  const std::string tables = build_smbios(identity);
  std::string entry("_SM3_\0\x18\x03\x03\x00\x01\x00", 12);
  put(entry, tables.size(), 4);
  put(entry, kSmbios + 0x20, 8);
  unsigned sum = 0;
  for (const char c : entry) sum += static_cast<unsigned char>(c);
  entry[5] = static_cast<char>(0u - sum);
  if (!memory.write(kSmbios, std::as_bytes(std::span(entry))) ||
      !memory.write(kSmbios + 0x20, std::as_bytes(std::span(tables))))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for SMBIOS"};
  return {};
}

}  // namespace reeve::core::boot
