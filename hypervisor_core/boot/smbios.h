// hypervisor_core/boot/smbios.h - what `dmidecode` shows in the guest. Source: SMBIOS 3.3 (DMTF
// DSP0134).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::boot {

struct SmbiosIdentity {
  std::array<std::uint8_t, 16> uuid{};  ///< in the order of the text form
  std::string serial{};                 ///< cloud-init reads "ds=nocloud;..." here
};

/// The tables without their entry point, for tests.
std::string build_smbios(const SmbiosIdentity& identity);
/// Writes entry point and tables at kSmbios. InvalidArgument/SMBIOS_TEXT when the serial is too
/// long or not printable, ResourceExhausted/GUEST_MEMORY_TOO_SMALL.
Status write_smbios(GuestMemory& memory, const SmbiosIdentity& identity);

}  // namespace reeve::core::boot
