// hypervisor_core/boot/loader.h - puts a kernel into guest memory and says how to enter it.
//
// Formats, in the order they are tried: ELF with a PVH note, Linux bzImage, Multiboot 1. Which one
// an image is decides its content; nothing of an image is ever executed or followed outside guest
// memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "hypervisor_core/boot/byte_source.h"
#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::boot {

enum class ImageFormat : std::uint8_t { Pvh, Bzimage64, Bzimage32, Multiboot };

std::string_view image_format_name(ImageFormat format);

/// What to start. References outlive the call.
struct BootImage {
  const ByteSource& kernel;
  const ByteSource* initrd = nullptr;
  std::string_view command_line{};
};

enum class EntryMode : std::uint8_t { Protected32, Long64 };

/// The state the first vCPU starts in; cpu/boot_state.h turns it into registers.
struct Entry {
  ImageFormat format = ImageFormat::Pvh;
  EntryMode mode = EntryMode::Protected32;
  Gpa address = 0;
  std::uint64_t rax = 0;
  std::uint64_t rbx = 0;
  std::uint64_t rsi = 0;
};

/// Loads everything. InvalidArgument/KERNEL_FORMAT (no format of ours), KERNEL_INVALID (says what
/// is wrong), COMMAND_LINE (too long); ResourceExhausted/GUEST_MEMORY_TOO_SMALL.
/// DataLoss/FILE_TRUNCATED.
Result<Entry> load_image(GuestMemory& memory, const BootImage& image);

}  // namespace reeve::core::boot
