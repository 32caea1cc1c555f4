// Multiboot 1. Source: Multiboot Specification version 0.6.96, sections 3.1 to 3.3.
#include <algorithm>
#include <array>
#include <vector>

#include "base/bytes.h"
#include "hypervisor_core/boot/elf.h"
#include "hypervisor_core/boot/load_parts.h"
#include "hypervisor_core/boot/memory_map.h"

namespace reeve::core::boot {
namespace {

constexpr std::uint64_t kSearch = 8192;
constexpr std::uint32_t kMagic = 0x1badb002, kHandover = 0x2badb002;
constexpr std::uint32_t kFlagMemory = 1 << 1, kFlagVideo = 1 << 2, kFlagAddresses = 1 << 16;
constexpr std::uint32_t kInfoMemory = 1, kInfoCommandLine = 1 << 2, kInfoModules = 1 << 3,
                        kInfoMap = 1 << 6, kInfoLoader = 1 << 9;
constexpr Gpa kModules = kStartInfo + 0x80, kLoaderName = kStartInfo + 0xc0,
              kMap = kStartInfo + 0x100;

struct Header {
  std::uint32_t magic, flags, checksum, header_address, load_address, load_end, bss_end, entry;
};

struct Info {
  std::uint32_t flags = 0, lower_kib = 0, upper_kib = 0, boot_device = 0, command_line = 0;
  std::uint32_t module_count = 0, modules = 0;
  std::uint32_t symbols[4] = {};
  std::uint32_t map_length = 0, map = 0, drives_length = 0, drives = 0, config = 0, loader_name = 0;
};

struct MapRecord {
  std::uint32_t size = 20;
  std::uint32_t base_low = 0, base_high = 0, size_low = 0, size_high = 0, type = 0;
};

struct Loaded {
  Gpa entry = 0, end = 0;
};

/// An image whose header says where its parts go (flag 16).
Result<Loaded> load_by_addresses(GuestMemory& memory, const ByteSource& kernel,
                                 const Header& header, std::uint64_t header_offset) {
  if (header.header_address < header.load_address ||
      header.header_address - header.load_address > header_offset)
    return invalid_kernel("the Multiboot header does not lie where it says");
  const std::uint64_t offset = header_offset - (header.header_address - header.load_address);
  const std::uint64_t rest = kernel.size() - offset;
  std::uint64_t size = rest;
  if (header.load_end != 0) {
    if (header.load_end < header.load_address)
      return invalid_kernel("Multiboot load range is empty");
    size = header.load_end - header.load_address;
  }
  if (size > rest) return invalid_kernel("Multiboot load range exceeds the file");
  TRY(load_bytes(memory, kernel, offset, header.load_address, size));
  Gpa end = header.load_address + size;
  if (header.bss_end > end) {
    if (!memory.fill(end, header.bss_end - end, std::byte{0}))
      return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                   "the image does not fit into guest memory"};
    end = header.bss_end;
  }
  return Loaded{.entry = header.entry, .end = end};
}

Result<Loaded> load_kernel(GuestMemory& memory, const ByteSource& kernel, const Header& header,
                           std::uint64_t header_offset) {
  if ((header.flags & kFlagAddresses) != 0)
    return load_by_addresses(memory, kernel, header, header_offset);
  const auto elf = TRY(load_elf(memory, kernel));
  return Loaded{.entry = elf.entry, .end = elf.highest};
}

bool write_map(GuestMemory& memory, Info& info) {
  Gpa at = kMap;
  for (const auto& entry : memory_map(memory)) {
    const MapRecord record{.base_low = static_cast<std::uint32_t>(entry.base),
                           .base_high = static_cast<std::uint32_t>(entry.base >> 32),
                           .size_low = static_cast<std::uint32_t>(entry.size),
                           .size_high = static_cast<std::uint32_t>(entry.size >> 32),
                           .type = static_cast<std::uint32_t>(entry.type)};
    if (!memory.write_object(at, record)) return false;
    at += sizeof record;
  }
  info.map = static_cast<std::uint32_t>(kMap);
  info.map_length = static_cast<std::uint32_t>(at - kMap);
  return true;
}

}  // namespace

Result<std::uint64_t> find_multiboot_header(const ByteSource& kernel) {
  std::vector<std::byte> start(std::min(kernel.size(), kSearch));
  TRY(kernel.read(0, start));
  const std::span<const std::byte> bytes(start);
  for (std::uint64_t at = 0; at + 12 <= bytes.size(); at += 4) {
    if (load_le<std::uint32_t>(bytes.subspan(at)) != kMagic) continue;
    const auto flags = load_le<std::uint32_t>(bytes.subspan(at + 4));
    if (kMagic + flags + load_le<std::uint32_t>(bytes.subspan(at + 8)) == 0) return at;
  }
  return Error{Code::NotFound, "KERNEL_FORMAT", "no Multiboot header"};
}

Result<Entry> load_multiboot(GuestMemory& memory, const BootImage& image,
                             std::uint64_t header_offset) {
  Header header{};
  const bool has_addresses = header_offset + sizeof header <= image.kernel.size();
  TRY(image.kernel.read(
      header_offset,
      std::as_writable_bytes(std::span(&header, 1)).first(has_addresses ? sizeof header : 12)));
  if ((header.flags & 0xffff & ~(1u | kFlagMemory | kFlagVideo)) != 0)
    return invalid_kernel("it requires Multiboot features we do not have");
  if ((header.flags & kFlagAddresses) != 0 && !has_addresses)
    return invalid_kernel("its Multiboot header is cut off");

  const auto loaded = TRY(load_kernel(memory, image.kernel, header, header_offset));
  TRY(load_command_line(memory, image.command_line, kMaxCommandLine - 1));
  const auto initrd = TRY(load_initrd(memory, image.initrd, loaded.end, 0xffffffff));

  const std::uint64_t low_ram = memory.regions()[0].range.size;
  Info info{.flags = kInfoMemory | kInfoCommandLine | kInfoMap | kInfoLoader,
            .lower_kib = static_cast<std::uint32_t>(kExtendedBios / 1024),
            .upper_kib = static_cast<std::uint32_t>(
                low_ram > kImageFloor ? (low_ram - kImageFloor) / 1024 : 0),
            .command_line = static_cast<std::uint32_t>(kCommandLine),
            .loader_name = static_cast<std::uint32_t>(kLoaderName)};
  constexpr std::array<char, 6> kName{"reeve"};
  bool ok = write_map(memory, info) && memory.write_object(kLoaderName, kName);
  if (initrd.size != 0) {
    info.flags |= kInfoModules;
    info.module_count = 1;
    info.modules = static_cast<std::uint32_t>(kModules);
    const std::array<std::uint32_t, 4> module{static_cast<std::uint32_t>(initrd.base),
                                              static_cast<std::uint32_t>(initrd.base + initrd.size),
                                              static_cast<std::uint32_t>(kCommandLine), 0};
    ok = ok && memory.write_object(kModules, module);
  }
  if (!ok || !memory.write_object(kStartInfo, info))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                 "no room for Multiboot information"};
  return Entry{.format = ImageFormat::Multiboot,
               .mode = EntryMode::Protected32,
               .address = loaded.entry,
               .rax = kHandover,
               .rbx = kStartInfo};
}

}  // namespace reeve::core::boot
