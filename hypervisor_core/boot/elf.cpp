#include "hypervisor_core/boot/elf.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <elf.h>

#include "base/bytes.h"
#include "hypervisor_core/boot/load_parts.h"

namespace reeve::core::boot {
namespace {

constexpr std::size_t kMaxSegments = 64;
constexpr std::uint64_t kMaxNotes = 64 << 10;
constexpr std::uint32_t kPvhNote = 18;  // XEN_ELFNOTE_PHYS32_ENTRY

/// The same for both classes.
struct Segment {
  std::uint32_t type = 0;
  std::uint64_t offset = 0, address = 0, file_size = 0, memory_size = 0;
};

struct Header {
  std::uint64_t entry = 0;
  std::vector<Segment> segments;
};

template <class T>
Result<T> read_object(const ByteSource& image, std::uint64_t offset) {
  T object;
  TRY(image.read(offset, std::as_writable_bytes(std::span(&object, 1))));
  return object;
}

template <class EhdrT, class PhdrT>
Result<Header> read_header(const ByteSource& image) {
  const auto header = TRY(read_object<EhdrT>(image, 0));
  if (header.e_machine != EM_X86_64 && header.e_machine != EM_386)
    return invalid_kernel("not for x86");
  if (header.e_phentsize != sizeof(PhdrT) || header.e_phnum == 0 || header.e_phnum > kMaxSegments)
    return invalid_kernel("bad program header table");
  Header out{.entry = header.e_entry, .segments = {}};
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    if (header.e_phoff > image.size()) return invalid_kernel("program headers beyond the file");
    const auto s = TRY(read_object<PhdrT>(image, header.e_phoff + i * sizeof(PhdrT)));
    out.segments.push_back({.type = s.p_type,
                            .offset = s.p_offset,
                            .address = s.p_paddr,
                            .file_size = s.p_filesz,
                            .memory_size = s.p_memsz});
  }
  return out;
}

Status load_segment(GuestMemory& memory, const ByteSource& image, const Segment& segment) {
  if (segment.memory_size < segment.file_size)
    return invalid_kernel("segment larger in file than in memory");
  if (segment.memory_size == 0) return {};
  if (segment.address < kImageFloor || !memory.contains(segment.address, segment.memory_size))
    return segment.address < kImageFloor
               ? invalid_kernel("a segment wants to be loaded below 1 MiB")
               : Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                       "the kernel does not fit into guest memory"};
  TRY(load_bytes(memory, image, segment.offset, segment.address, segment.file_size));
  if (!memory.fill(segment.address + segment.file_size, segment.memory_size - segment.file_size,
                   std::byte{0}))
    return invalid_kernel("a segment leaves guest memory");
  return {};
}

/// Entry address in the PVH note, when this note segment holds one.
Result<std::optional<std::uint32_t>> find_pvh_note(const ByteSource& image,
                                                   const Segment& segment) {
  const std::uint64_t size = std::min(segment.file_size, kMaxNotes);
  std::vector<std::byte> notes(size);
  TRY(image.read(segment.offset, notes));
  const std::span<const std::byte> bytes(notes);
  std::uint64_t at = 0;
  while (at + 12 <= size) {
    const std::uint64_t name_size = load_le<std::uint32_t>(bytes.subspan(at));
    const std::uint64_t content_size = load_le<std::uint32_t>(bytes.subspan(at + 4));
    const auto type = load_le<std::uint32_t>(bytes.subspan(at + 8));
    const std::uint64_t name = at + 12;
    const std::uint64_t content = name + (name_size + 3) / 4 * 4;
    if (content > size || content_size > size - content) break;
    if (type == kPvhNote && content_size >= 4 && name_size == 4 &&
        std::memcmp(notes.data() + name, "Xen", 4) == 0)
      return std::optional(load_le<std::uint32_t>(bytes.subspan(content)));
    at = content + (content_size + 3) / 4 * 4;
  }
  return std::optional<std::uint32_t>{};
}

}  // namespace

Result<ElfImage> load_elf(GuestMemory& memory, const ByteSource& image) {
  std::array<std::byte, EI_NIDENT> ident{};
  TRY(image.read(0, ident));
  const bool is64 = ident[EI_CLASS] == std::byte{ELFCLASS64};
  if (ident[EI_DATA] != std::byte{ELFDATA2LSB} ||
      (!is64 && ident[EI_CLASS] != std::byte{ELFCLASS32}))
    return invalid_kernel("not a little-endian ELF");
  const Header header = is64 ? TRY((read_header<Elf64_Ehdr, Elf64_Phdr>(image)))
                             : TRY((read_header<Elf32_Ehdr, Elf32_Phdr>(image)));
  ElfImage out{.entry = header.entry, .lowest = ~Gpa{0}};
  for (const auto& segment : header.segments) {
    if (segment.type == PT_LOAD) {
      TRY(load_segment(memory, image, segment));
      if (segment.memory_size == 0) continue;
      out.lowest = std::min(out.lowest, segment.address);
      out.highest = std::max(out.highest, segment.address + segment.memory_size);
    } else if (segment.type == PT_NOTE && !out.pvh_entry) {
      if (segment.offset > image.size() || segment.file_size > image.size() - segment.offset)
        return invalid_kernel("a note lies beyond the file");
      out.pvh_entry = TRY(find_pvh_note(image, segment));
    }
  }
  if (out.highest == 0) return invalid_kernel("nothing to load");
  return out;
}

}  // namespace reeve::core::boot
