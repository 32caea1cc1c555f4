#include "hypervisor_core/boot/loader.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/bytes.h"
#include "hypervisor_core/boot/load_parts.h"

namespace reeve::core::boot {

std::string_view image_format_name(ImageFormat format) {
  switch (format) {
    case ImageFormat::Pvh: return "ELF (PVH)";
    case ImageFormat::Bzimage64: return "bzImage (64-bit)";
    case ImageFormat::Bzimage32: return "bzImage (32-bit)";
    case ImageFormat::Multiboot: return "Multiboot";
  }
  return "unknown";
}

Error invalid_kernel(std::string message) {
  return Error{Code::InvalidArgument, "KERNEL_INVALID", "kernel image: " + std::move(message)};
}

Status load_bytes(GuestMemory& memory, const ByteSource& source, std::uint64_t offset, Gpa address,
                  std::uint64_t length) {
  if (offset > source.size() || length > source.size() - offset)
    return invalid_kernel("a part lies beyond the end of the file");
  if (address < kImageFloor) return invalid_kernel("a part wants to be loaded below 1 MiB");
  // In a jail this is refused (a reset), with huge pages it cannot be done.
  if (source.file() >= 0 && memory.copy_from_file(address, source.file(), offset, length))
    return {};
  const auto target = memory.span(address, length);
  if (!target)
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                 "the image does not fit into guest memory"};
  TRY(source.read(offset, *target));
  memory.mark_dirty(address, length);
  return {};
}

Status load_command_line(GuestMemory& memory, std::string_view text, std::size_t limit) {
  if (text.size() > std::min(limit, kMaxCommandLine - 1) || text.find('\0') != text.npos)
    return Error{Code::InvalidArgument, "COMMAND_LINE",
                 "the command line is longer than the kernel takes, or contains a zero"};
  if (!memory.write(kCommandLine, std::as_bytes(std::span(text.data(), text.size()))) ||
      !memory.write_le<std::uint8_t>(kCommandLine + text.size(), 0))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for the command line"};
  return {};
}

Result<MemoryRange> load_initrd(GuestMemory& memory, const ByteSource* initrd, Gpa floor,
                                Gpa highest) {
  if (initrd == nullptr || initrd->size() == 0) return MemoryRange{};
  const std::uint64_t size = initrd->size();
  const Gpa ram_end = memory.regions()[0].range.size;
  const Gpa end = std::min<Gpa>(highest == ~Gpa{0} ? highest : highest + 1, ram_end);
  const auto too_small = [] {
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                 "the initrd does not fit into guest memory"};
  };
  if (size > end) return too_small();
  const Gpa address = (end - size) / kPageSize * kPageSize;
  if (address < std::max(floor, kImageFloor)) return too_small();
  TRY(load_bytes(memory, *initrd, 0, address, size));
  return MemoryRange{address, size};
}

Status write_identity_map(GuestMemory& memory) {
  constexpr std::uint64_t kPresentWritable = 3, kLarge = 0x80;
  const Gpa pdpt = kPageTables + kPageSize;
  const Gpa directories = pdpt + kPageSize;
  bool ok = memory.fill(kPageTables, 6 * kPageSize, std::byte{0});
  ok = ok && memory.write_le(kPageTables, pdpt | kPresentWritable);
  for (std::uint64_t i = 0; i < 4; ++i)
    ok = ok && memory.write_le(pdpt + 8 * i, (directories + i * kPageSize) | kPresentWritable);
  for (std::uint64_t i = 0; i < 4 * 512; ++i)
    ok = ok && memory.write_le(directories + 8 * i, (i << 21) | kLarge | kPresentWritable);
  if (ok) return {};
  return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for page tables"};
}

Result<Entry> load_image(GuestMemory& memory, const BootImage& image) {
  std::array<std::byte, 4> magic{};
  if (image.kernel.size() < 1024)
    return Error{Code::InvalidArgument, "KERNEL_FORMAT", "the kernel is too short to be one"};
  TRY(image.kernel.read(0, magic));
  if (load_le<std::uint32_t>(magic) == 0x464c457f) return load_pvh_or_multiboot_elf(memory, image);
  TRY(image.kernel.read(0x202, magic));
  if (load_le<std::uint32_t>(magic) == 0x53726448) return load_bzimage(memory, image);
  auto header = find_multiboot_header(image.kernel);
  if (header.ok()) return load_multiboot(memory, image, header.value());
  return Error{Code::InvalidArgument, "KERNEL_FORMAT",
               "the kernel is neither an ELF with a PVH note, nor a bzImage, nor a Multiboot image"}
      .remedy("choose a vmlinuz or vmlinux of a Linux distribution");
}

}  // namespace reeve::core::boot
