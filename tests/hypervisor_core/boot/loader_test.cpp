#include "hypervisor_core/boot/loader.h"

#include <cstring>
#include <limits>
#include <string>

#include <catch2/catch.hpp>
#include <elf.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"
#include "hypervisor_core/boot/low_memory.h"
#include "hypervisor_core/boot/memory_map.h"

namespace reeve::core::boot {
namespace {

using Bytes = std::vector<std::byte>;

template <class T>
void put(Bytes& bytes, std::size_t at, T value) {
  if (bytes.size() < at + sizeof value) bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

std::unique_ptr<GuestMemory> ram(std::uint64_t mib) {
  auto memory = GuestMemory::create(ram_layout(mib * kMiB));
  REQUIRE(memory.ok());
  return std::move(memory).value();
}

constexpr Gpa kLoadAt = 0x1000000;
constexpr std::size_t kCodeAt = 0x1000;

/// A kernel of one segment ("CODE", then zeroes in memory) and one note.
Bytes pvh_kernel(std::uint32_t entry = kLoadAt + 4) {
  Bytes out(kCodeAt + 16);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  put(out, 0, header);
  put(out, sizeof header,
      Elf64_Phdr{.p_type = PT_LOAD,
                 .p_flags = 5,
                 .p_offset = kCodeAt,
                 .p_vaddr = 0xffffffff81000000,
                 .p_paddr = kLoadAt,
                 .p_filesz = 16,
                 .p_memsz = 0x2000,
                 .p_align = 0});
  put(out, sizeof header + sizeof(Elf64_Phdr),
      Elf64_Phdr{.p_type = PT_NOTE,
                 .p_flags = 4,
                 .p_offset = 0x200,
                 .p_vaddr = 0,
                 .p_paddr = 0,
                 .p_filesz = 44,
                 .p_memsz = 44,
                 .p_align = 4});
  const std::array<std::uint32_t, 11> notes = {4, 4,  17,       0x6e6558, 0xffff, 4,
                                               4, 18, 0x6e6558, entry,    0};
  put(out, 0x200, notes);
  std::memcpy(out.data() + kCodeAt, "CODECODECODECODE", 16);
  return out;
}

Bytes bzimage(bool entry64 = true) {
  Bytes out(5 * 512 + 4096);
  out[0x1f1] = std::byte{4};
  put<std::uint16_t>(out, 0x1fe, 0xaa55);
  put<std::uint16_t>(out, 0x200, 0x6aeb);  // header ends at 0x26c
  put<std::uint32_t>(out, 0x202, 0x53726448);
  put<std::uint16_t>(out, 0x206, 0x020f);
  out[0x211] = std::byte{1};
  put<std::uint32_t>(out, 0x22c, 0x7fffffff);
  put<std::uint16_t>(out, 0x236, entry64 ? 1 : 0);
  put<std::uint32_t>(out, 0x238, 2047);
  put<std::uint64_t>(out, 0x258, kLoadAt);
  put<std::uint32_t>(out, 0x260, 0x100000);
  std::memcpy(out.data() + 5 * 512, "KERN", 4);
  return out;
}

Bytes multiboot(std::uint32_t load = 0x200000) {
  Bytes out(4096);
  const std::uint32_t flags = 1u << 16 | 3;
  const std::array<std::uint32_t, 8> header = {0x1badb002,  flags,      0u - 0x1badb002 - flags,
                                               load + 0x40, load,       load + 2048,
                                               load + 8192, load + 0x80};
  put(out, 0x40, header);
  std::memcpy(out.data() + 0x80, "MULT", 4);
  return out;
}

Result<Entry> load(GuestMemory& memory, const Bytes& kernel,
                   std::string_view command_line = "quiet", const ByteSource* initrd = nullptr) {
  const MemorySource source(kernel);
  return load_image(memory, {.kernel = source, .initrd = initrd, .command_line = command_line});
}

std::string text_at(const GuestMemory& memory, Gpa address, std::size_t length) {
  std::string out(length, '\0');
  REQUIRE(memory.read(address, std::as_writable_bytes(std::span(out))));
  return out;
}

}  // namespace

TEST_CASE("an ELF kernel with a PVH note is entered there with its start info", "[boot]") {
  auto memory = ram(64);
  const std::string initrd_text(5000, 'i');
  const MemorySource initrd(as_bytes(initrd_text));
  REQUIRE(memory->fill(kLoadAt, 0x3000, std::byte{0xee}));
  const auto entry = load(*memory, pvh_kernel(), "console=ttyS0", &initrd);
  if (!entry.ok()) FAIL(entry.error().message());
  CHECK(entry.value().format == ImageFormat::Pvh);
  CHECK(entry.value().mode == EntryMode::Protected32);
  CHECK(entry.value().address == kLoadAt + 4);
  CHECK(text_at(*memory, kLoadAt, 16) == "CODECODECODECODE");
  CHECK(text_at(*memory, kLoadAt + 16, 0x1ff0) == std::string(0x1ff0, '\0'));
  CHECK(text_at(*memory, kLoadAt + 0x2000, 1) == "\xee");

  const Gpa info = entry.value().rbx;
  CHECK(memory->read_le<std::uint32_t>(info) == 0x336ec578);
  CHECK(memory->read_le<std::uint64_t>(info + 32) == kRsdp);
  CHECK(text_at(*memory, memory->read_le<std::uint64_t>(info + 24).value(), 14) ==
        std::string("console=ttyS0\0", 14));
  const Gpa module = memory->read_le<std::uint64_t>(info + 16).value();
  const Gpa where = memory->read_le<std::uint64_t>(module).value();
  CHECK(where % kPageSize == 0);
  CHECK(memory->read_le<std::uint64_t>(module + 8) == 5000);
  CHECK(text_at(*memory, where, 5000) == initrd_text);
  CHECK(memory->read_le<std::uint32_t>(info + 48) == memory_map(*memory).size());
}

TEST_CASE("a kernel and an initrd in files arrive as they would from memory", "[boot]") {
  const Bytes kernel = pvh_kernel();
  const std::string initrd_text(5000, 'i');
  const auto file_of = [](std::span<const std::byte> bytes) {
    Fd file(memfd_create("image", MFD_CLOEXEC));
    REQUIRE(write_all(file.get(), bytes).ok());
    return FileSource(std::move(file), bytes.size());
  };
  const auto from_file = ram(64), from_memory = ram(64);
  const auto initrd = file_of(as_bytes(initrd_text));
  const auto source = file_of(kernel);
  const auto entry =
      load_image(*from_file, {.kernel = source, .initrd = &initrd, .command_line = "quiet"});
  if (!entry.ok()) FAIL(entry.error().message());
  const MemorySource plain(as_bytes(initrd_text));
  REQUIRE(load(*from_memory, kernel, "quiet", &plain).ok());
  const std::size_t size = from_memory->size_bytes();
  CHECK((text_at(*from_file, 0, size) == text_at(*from_memory, 0, size)));
}

TEST_CASE("a bzImage is entered in 64-bit mode where it prefers to be", "[boot]") {
  auto memory = ram(64);
  const auto entry = load(*memory, bzimage());
  if (!entry.ok()) FAIL(entry.error().message());
  CHECK(entry.value().format == ImageFormat::Bzimage64);
  CHECK(entry.value().mode == EntryMode::Long64);
  CHECK(entry.value().address == kLoadAt + 0x200);
  CHECK(entry.value().rsi == kBootParams);
  CHECK(text_at(*memory, kLoadAt, 4) == "KERN");
  CHECK(memory->read_le<std::uint32_t>(kBootParams + 0x228) == kCommandLine);
  CHECK(memory->read_le<std::uint8_t>(kBootParams + 0x210) == 0xff);
  CHECK(memory->read_le<std::uint8_t>(kBootParams + 0x1e8) == memory_map(*memory).size());
  CHECK(memory->read_le<std::uint64_t>(kPageTables + 2 * kPageSize + 8) == 0x200083);
}

TEST_CASE(
    "a 32-bit bzImage is entered in protected mode, and at 1 MiB when it does not fit elsewhere",
    "[boot]") {
  auto memory = ram(8);
  const auto entry = load(*memory, bzimage(false));
  if (!entry.ok()) FAIL(entry.error().message());
  CHECK(entry.value().format == ImageFormat::Bzimage32);
  CHECK(entry.value().address == 0x100000);
}

TEST_CASE("a Multiboot image gets its magic, memory and command line", "[boot]") {
  auto memory = ram(16);
  const auto entry = load(*memory, multiboot(), "test");
  if (!entry.ok()) FAIL(entry.error().message());
  CHECK(entry.value().format == ImageFormat::Multiboot);
  CHECK(entry.value().rax == 0x2badb002);
  CHECK(entry.value().address == 0x200080);
  CHECK(text_at(*memory, 0x200080, 4) == "MULT");
  CHECK(memory->read_le<std::uint32_t>(entry.value().rbx + 8) == 15 * 1024);
}

TEST_CASE("the memory map keeps tables and windows out of the guest's RAM", "[boot]") {
  auto memory = ram(4096);
  const auto map = memory_map(*memory);
  Gpa end = 0;
  for (const auto& entry : map) {
    CHECK(entry.base >= end);
    end = entry.base + entry.size;
    if (entry.type != MapType::Usable) continue;
    CHECK_FALSE((entry.base < kBiosTables.base + kBiosTables.size && end > kExtendedBios));
    CHECK_FALSE((entry.base < kHighRam && end > kLowRamLimit));
  }
  CHECK(end == 5 * kGiB);
}

TEST_CASE("hostile kernels are refused by name", "[boot]") {
  auto memory = ram(64);
  const auto reason = [&](const Bytes& kernel) {
    const auto entry = load(*memory, kernel);
    REQUIRE_FALSE(entry.ok());
    return std::string(entry.error().reason());
  };
  const auto changed = [](Bytes kernel, std::size_t at, auto value) {
    put(kernel, at, value);
    return kernel;
  };
  constexpr std::size_t kSegment = sizeof(Elf64_Ehdr);
  CHECK(reason(Bytes(2000)) == "KERNEL_FORMAT");
  CHECK(reason({}) == "KERNEL_FORMAT");
  CHECK(reason(changed(pvh_kernel(), 0x12, std::uint16_t{EM_ARM})) == "KERNEL_INVALID");
  CHECK(reason(changed(pvh_kernel(), 0x38, std::uint16_t{65535})) == "KERNEL_INVALID");
  CHECK(reason(changed(pvh_kernel(), 0x20, std::uint64_t{1} << 63)) == "KERNEL_INVALID");
  CHECK(reason(changed(pvh_kernel(), kSegment + 8, std::uint64_t{1} << 62)) == "KERNEL_INVALID");
  CHECK(reason(changed(pvh_kernel(), kSegment + 24, std::uint64_t{0x500})) == "KERNEL_INVALID");
  CHECK(reason(changed(pvh_kernel(), kSegment + 24, ~std::uint64_t{0} - 100)) ==
        "GUEST_MEMORY_TOO_SMALL");
  CHECK(reason(changed(pvh_kernel(), kSegment + 40, ~std::uint64_t{0})) ==
        "GUEST_MEMORY_TOO_SMALL");
  CHECK(reason(changed(pvh_kernel(), kSegment + 40, std::uint64_t{1})) == "KERNEL_INVALID");
  CHECK(reason(pvh_kernel(0x100)) == "KERNEL_INVALID");
  CHECK(reason(changed(pvh_kernel(), 0x200 + 28, std::uint32_t{7})) ==
        "KERNEL_FORMAT");  // no such note
  CHECK(reason(changed(bzimage(), 0x206, std::uint16_t{0x0200})) == "KERNEL_INVALID");
  CHECK(reason(changed(bzimage(), 0x211, std::uint8_t{0})) == "KERNEL_INVALID");
  CHECK(reason(changed(bzimage(), 0x1f1, std::uint8_t{200})) == "KERNEL_INVALID");
  CHECK(reason(changed(bzimage(), 0x260, std::uint32_t{0xffffffff})) == "GUEST_MEMORY_TOO_SMALL");
  CHECK(reason(multiboot(0x500)) == "KERNEL_INVALID");
  CHECK(reason(multiboot(0xffff0000)) == "GUEST_MEMORY_TOO_SMALL");
  CHECK(reason(changed(multiboot(), 0x40 + 12, std::uint32_t{0x100})) == "KERNEL_INVALID");
}

TEST_CASE("a kernel cut off anywhere is refused or loaded, never worse", "[boot]") {
  auto memory = ram(32);
  for (const auto& whole : {pvh_kernel(), bzimage(), multiboot()})
    for (std::size_t size = 0; size < whole.size(); size += 7) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      (void)load(*memory, part);
    }
}

TEST_CASE("a command line that is too long for the kernel is refused", "[boot]") {
  auto memory = ram(64);
  CHECK(load(*memory, bzimage(), std::string(2047, 'x')).ok());
  CHECK(load(*memory, bzimage(), std::string(2048, 'x')).error().reason() == "COMMAND_LINE");
  CHECK(load(*memory, pvh_kernel(), std::string(4096, 'x')).error().reason() == "COMMAND_LINE");
  CHECK(load(*memory, pvh_kernel(), std::string("a\0b", 3)).error().reason() == "COMMAND_LINE");
}

TEST_CASE("an initrd that does not fit beside the kernel is refused", "[boot]") {
  auto memory = ram(32);
  const std::string huge(17 * kMiB, 'x');
  const MemorySource initrd(as_bytes(huge));
  CHECK(load(*memory, pvh_kernel(), "", &initrd).error().reason() == "GUEST_MEMORY_TOO_SMALL");
}

}  // namespace reeve::core::boot
