// hypervisor_core/boot/elf.h - loads the segments of an ELF image. Source: System V ABI, chapters 4
// and 5.
#pragma once

#include <cstdint>
#include <optional>

#include "base/status.h"
#include "hypervisor_core/boot/byte_source.h"
#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::boot {

struct ElfImage {
  std::uint64_t entry = 0;                 ///< of the header; virtual
  Gpa lowest = 0, highest = 0;             ///< loaded range, `highest` is the end
  std::optional<std::uint32_t> pvh_entry;  ///< physical, from the PVH note
};

/// Loads every PT_LOAD of a little-endian ELF32 or ELF64 for x86 at its physical address and clears
/// what the file does not hold. InvalidArgument/KERNEL_INVALID,
/// ResourceExhausted/GUEST_MEMORY_TOO_SMALL.
Result<ElfImage> load_elf(GuestMemory& memory, const ByteSource& image);

}  // namespace reeve::core::boot
