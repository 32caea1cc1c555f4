// hypervisor_core/boot/low_memory.h - who uses which part of the first MiB when the guest starts.
#pragma once

#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/memory/layout.h"

namespace reeve::core::boot {

inline constexpr Gpa kGdt = 0x500;
inline constexpr Gpa kStartInfo =
    0x6000;  ///< PVH hvm_start_info or Multiboot information, one page
inline constexpr Gpa kBootParams = 0x7000;  ///< Linux boot_params, one page
inline constexpr Gpa kPageTables = 0x9000;  ///< PML4, PDPT, 4 page directories: 6 pages
inline constexpr Gpa kBootStack = 0x1f000;  ///< grows down; kernels bring their own
inline constexpr Gpa kCommandLine = 0x20000;
inline constexpr std::size_t kMaxCommandLine = 4096;         ///< with its terminating zero
inline constexpr Gpa kExtendedBios = 0x9fc00;                ///< end of usable low memory
inline constexpr MemoryRange kBiosTables{0xe0000, 0x20000};  ///< ACPI and SMBIOS
inline constexpr Gpa kRsdp = kBiosTables.base;
inline constexpr Gpa kSmbios = 0xf0000;
inline constexpr Gpa kGenerationId = 0xff000;  ///< 16 bytes
inline constexpr Gpa kImageFloor = 0x100000;   ///< nothing of an image is loaded below

}  // namespace reeve::core::boot
