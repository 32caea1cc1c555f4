// hypervisor_core/boot/load_parts.h - steps that the loaders of all formats share.
#pragma once

#include "hypervisor_core/boot/loader.h"
#include "hypervisor_core/boot/low_memory.h"

namespace reeve::core::boot {

Error invalid_kernel(std::string message);

/// Copies [offset, offset + length) of `source` to `address`, which must be RAM above kImageFloor.
Status load_bytes(GuestMemory& memory, const ByteSource& source, std::uint64_t offset, Gpa address,
                  std::uint64_t length);

/// Writes the command line and its terminating zero at kCommandLine. `limit` without the zero.
Status load_command_line(GuestMemory& memory, std::string_view text, std::size_t limit);

/// Puts the initrd as high as `highest` (last byte) and low RAM allow, page-aligned, above `floor`.
/// A range of size 0 when there is none.
Result<MemoryRange> load_initrd(GuestMemory& memory, const ByteSource* initrd, Gpa floor,
                                Gpa highest);

/// Identity map of the first 4 GiB in 2 MiB pages at kPageTables.
Status write_identity_map(GuestMemory& memory);

Result<Entry> load_pvh_or_multiboot_elf(GuestMemory& memory, const BootImage& image);
Result<Entry> load_bzimage(GuestMemory& memory, const BootImage& image);
/// `header_offset` as found by find_multiboot_header().
Result<Entry> load_multiboot(GuestMemory& memory, const BootImage& image,
                             std::uint64_t header_offset);
/// Offset of a valid Multiboot 1 header in the first 8 KiB; NotFound/KERNEL_FORMAT.
Result<std::uint64_t> find_multiboot_header(const ByteSource& kernel);

}  // namespace reeve::core::boot
