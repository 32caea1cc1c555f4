// Entry through PVH. Source: Xen docs/misc/pvh.pandoc and
// xen/include/public/arch-x86/hvm/start_info.h.
#include "hypervisor_core/boot/elf.h"
#include "hypervisor_core/boot/load_parts.h"
#include "hypervisor_core/boot/memory_map.h"

namespace reeve::core::boot {
namespace {

struct StartInfo {
  std::uint32_t magic = 0x336ec578;
  std::uint32_t version = 1;
  std::uint32_t flags = 0;
  std::uint32_t module_count = 0;
  std::uint64_t modules = 0;
  std::uint64_t command_line = 0;
  std::uint64_t rsdp = 0;
  std::uint64_t memory_map = 0;
  std::uint32_t memory_map_entries = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);

struct Module {
  std::uint64_t address = 0, size = 0, command_line = 0, reserved = 0;
};

struct MapRecord {
  std::uint64_t address = 0, size = 0;
  std::uint32_t type = 0, reserved = 0;
};

constexpr Gpa kModule = kStartInfo + 0x80;
constexpr Gpa kMap = kStartInfo + 0x100;

Result<Entry> load_pvh(GuestMemory& memory, const BootImage& image, const ElfImage& elf) {
  if (*elf.pvh_entry < elf.lowest || *elf.pvh_entry >= elf.highest)
    return invalid_kernel("the PVH entry lies outside the kernel");
  TRY(load_command_line(memory, image.command_line, kMaxCommandLine - 1));
  const auto initrd = TRY(load_initrd(memory, image.initrd, elf.highest, ~Gpa{0}));

  StartInfo info{.command_line = kCommandLine, .rsdp = kRsdp, .memory_map = kMap};
  bool ok = true;
  if (initrd.size != 0) {
    info.module_count = 1;
    info.modules = kModule;
    ok = memory.write_object(kModule, Module{.address = initrd.base, .size = initrd.size});
  }
  for (const auto& entry : memory_map(memory)) {
    const MapRecord record{
        .address = entry.base, .size = entry.size, .type = static_cast<std::uint32_t>(entry.type)};
    ok = ok && memory.write_object(kMap + info.memory_map_entries * sizeof(MapRecord), record);
    ++info.memory_map_entries;
  }
  if (!ok || !memory.write_object(kStartInfo, info))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for the start info"};
  return Entry{.format = ImageFormat::Pvh,
               .mode = EntryMode::Protected32,
               .address = *elf.pvh_entry,
               .rbx = kStartInfo};
}

}  // namespace

Result<Entry> load_pvh_or_multiboot_elf(GuestMemory& memory, const BootImage& image) {
  // An ELF that carries both headers is entered through Multiboot only when it has no PVH note.
  const auto elf = TRY(load_elf(memory, image.kernel));
  if (elf.pvh_entry) return load_pvh(memory, image, elf);
  auto header = find_multiboot_header(image.kernel);
  if (header.ok()) return load_multiboot(memory, image, header.value());
  return Error{Code::InvalidArgument, "KERNEL_FORMAT", "the ELF kernel has no PVH entry note"}
      .remedy("use a kernel built with CONFIG_PVH, or its bzImage (vmlinuz)");
}

}  // namespace reeve::core::boot
