// The Linux boot protocol. Source: Linux Documentation/x86/boot.rst and zero-page.rst.
#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "hypervisor_core/boot/load_parts.h"
#include "hypervisor_core/boot/memory_map.h"

namespace reeve::core::boot {
namespace {

/// Offsets in boot_params; the setup header has the same offset in the file.
enum Offset : std::size_t {
  kAcpiRsdp = 0x70,
  kMapEntries = 0x1e8,
  kSetupHeader = 0x1f1,
  kSetupSectors = 0x1f1,
  kHeaderEnd = 0x201,  // byte: header ends at 0x202 + this
  kVersion = 0x206,
  kLoaderType = 0x210,
  kLoadFlags = 0x211,
  kCode32Start = 0x214,
  kRamdiskAddress = 0x218,
  kRamdiskSize = 0x21c,
  kCommandLinePointer = 0x228,
  kInitrdHighest = 0x22c,
  kKernelAlignment = 0x230,
  kRelocatable = 0x234,
  kExtraLoadFlags = 0x236,
  kCommandLineSize = 0x238,
  kPreferredAddress = 0x258,
  kInitSize = 0x260,
  kMap = 0x2d0,
};

constexpr std::uint16_t kOldestVersion = 0x0206;  // command line size is known
constexpr std::uint8_t kLoadedHigh = 1, kKeepSegments = 0x40, kCanUseHeap = 0x80;
constexpr std::uint16_t kHas64BitEntry = 1;
constexpr std::uint8_t kUndefinedLoader = 0xff;
constexpr std::uint64_t kEntry64 = 0x200;
constexpr std::size_t kMaxMapEntries = 128;

class BootParams {
 public:
  template <class T>
  T get(std::size_t offset) const {
    return load_le<T>(std::span<const std::byte>(page_).subspan(offset));
  }
  template <class T>
  void set(std::size_t offset, T value) {
    store_le<T>(std::span(page_).subspan(offset), value);
  }
  std::span<std::byte> bytes() { return page_; }

 private:
  std::array<std::byte, kPageSize> page_{};
};

Result<BootParams> read_setup_header(const ByteSource& kernel) {
  std::array<std::byte, 2> peek{};
  TRY(kernel.read(kHeaderEnd, std::span(peek).first(1)));
  const std::size_t end = 0x202 + std::to_integer<std::size_t>(peek[0]);
  BootParams params;
  TRY(kernel.read(kSetupHeader, params.bytes().subspan(kSetupHeader, end - kSetupHeader)));
  return params;
}

void write_memory_map(const GuestMemory& memory, BootParams& params) {
  std::uint8_t count = 0;
  for (const auto& entry : memory_map(memory)) {
    if (count == kMaxMapEntries) break;
    const std::size_t at = kMap + count * std::size_t{20};
    params.set<std::uint64_t>(at, entry.base);
    params.set<std::uint64_t>(at + 8, entry.size);
    params.set<std::uint32_t>(at + 16, static_cast<std::uint32_t>(entry.type));
    ++count;
  }
  params.set<std::uint8_t>(kMapEntries, count);
}

/// Where the protected-mode kernel goes: where it prefers if that is RAM, else 1 MiB.
Gpa load_address(const GuestMemory& memory, const BootParams& params, std::uint64_t needed) {
  if (params.get<std::uint16_t>(kVersion) >= 0x020a) {
    const auto preferred = params.get<std::uint64_t>(kPreferredAddress);
    if (preferred >= kImageFloor && memory.contains(preferred, needed)) return preferred;
  }
  return kImageFloor;
}

}  // namespace

Result<Entry> load_bzimage(GuestMemory& memory, const BootImage& image) {
  auto params = TRY(read_setup_header(image.kernel));
  const auto version = params.get<std::uint16_t>(kVersion);
  if (version < kOldestVersion) return invalid_kernel("its boot protocol is older than 2.06");
  if ((params.get<std::uint8_t>(kLoadFlags) & kLoadedHigh) == 0)
    return invalid_kernel("a zImage, not a bzImage");

  const std::uint64_t said = params.get<std::uint8_t>(kSetupSectors);
  const std::uint64_t offset = ((said == 0 ? 4 : said) + 1) * 512;  // zero means four
  if (offset >= image.kernel.size()) return invalid_kernel("it ends after its set-up code");
  const std::uint64_t size = image.kernel.size() - offset;
  const std::uint64_t init_size = version >= 0x020a ? params.get<std::uint32_t>(kInitSize) : 0;
  const std::uint64_t needed = std::max(size, init_size);
  const Gpa address = load_address(memory, params, needed);
  TRY(load_bytes(memory, image.kernel, offset, address, size));
  if (!memory.contains(address, needed))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL",
                 "the kernel does not fit into guest memory"};

  TRY(load_command_line(memory, image.command_line, params.get<std::uint32_t>(kCommandLineSize)));
  const auto initrd = TRY(load_initrd(memory, image.initrd, address + needed,
                                      params.get<std::uint32_t>(kInitrdHighest)));
  params.set<std::uint8_t>(kLoaderType, kUndefinedLoader);
  params.set<std::uint8_t>(
      kLoadFlags, static_cast<std::uint8_t>((params.get<std::uint8_t>(kLoadFlags) | kKeepSegments) &
                                            ~kCanUseHeap));
  params.set<std::uint32_t>(kCode32Start, static_cast<std::uint32_t>(address));
  params.set<std::uint32_t>(kRamdiskAddress, static_cast<std::uint32_t>(initrd.base));
  params.set<std::uint32_t>(kRamdiskSize, static_cast<std::uint32_t>(initrd.size));
  params.set<std::uint32_t>(kCommandLinePointer, static_cast<std::uint32_t>(kCommandLine));
  params.set<std::uint64_t>(kAcpiRsdp, kRsdp);
  write_memory_map(memory, params);
  if (!memory.write(kBootParams, params.bytes()))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for boot parameters"};

  const bool has64 =
      version >= 0x020c && (params.get<std::uint16_t>(kExtraLoadFlags) & kHas64BitEntry) != 0;
  if (!has64)
    return Entry{.format = ImageFormat::Bzimage32,
                 .mode = EntryMode::Protected32,
                 .address = address,
                 .rsi = kBootParams};
  if (size <= kEntry64) return invalid_kernel("too short for its 64-bit entry");
  TRY(write_identity_map(memory));
  return Entry{.format = ImageFormat::Bzimage64,
               .mode = EntryMode::Long64,
               .address = address + kEntry64,
               .rsi = kBootParams};
}

}  // namespace reeve::core::boot
