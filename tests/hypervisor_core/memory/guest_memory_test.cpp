#include "hypervisor_core/memory/guest_memory.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <limits>

#include <catch2/catch.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "hypervisor_core/memory/layout.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max();

std::unique_ptr<GuestMemory> two_regions() {
  const std::array<MemoryRange, 2> ranges{{{0, 0x10000}, {0x100000, 0x4000}}};
  auto memory = GuestMemory::create(ranges);
  REQUIRE(memory.ok());
  return std::move(memory).value();
}

}  // namespace

TEST_CASE("guest memory reads back what was written, in every region", "[memory]") {
  auto memory = two_regions();
  CHECK(memory->write_le<std::uint64_t>(0xfff8, 0x1122334455667788));
  CHECK(memory->write_le<std::uint32_t>(0x100001, 0xdeadbeef));
  CHECK(memory->read_le<std::uint64_t>(0xfff8) == 0x1122334455667788);
  CHECK(memory->read_le<std::uint32_t>(0x100001) == 0xdeadbeef);
  CHECK(memory->read_le<std::uint8_t>(0xfff8) == 0x88);
  CHECK(memory->size_bytes() == 0x14000);
}

TEST_CASE("guest memory refuses what is not entirely RAM", "[memory]") {
  auto memory = two_regions();
  std::array<std::byte, 16> bytes{};
  for (const Gpa address :
       {Gpa{0xfff1}, Gpa{0x10000}, Gpa{0xfffff}, Gpa{0x103ff1}, kTop - 15, kTop}) {
    INFO("address " << std::hex << address);
    CHECK_FALSE(memory->read(address, bytes));
    CHECK_FALSE(memory->write(address, bytes));
    CHECK_FALSE(memory->fill(address, bytes.size(), std::byte{1}));
    CHECK_FALSE(memory->span(address, bytes.size()).has_value());
    CHECK_FALSE(memory->contains(address, bytes.size()));
  }
  CHECK_FALSE(memory->span(0, kTop).has_value());
  CHECK_FALSE(memory->span(0x8000, kTop - 0x7fff).has_value());
  CHECK_FALSE(memory->span(0, 0x10001).has_value());
  CHECK(memory->span(0, 0x10000).has_value());
}

TEST_CASE("an empty access is allowed at the edge of RAM and nowhere beyond", "[memory]") {
  auto memory = two_regions();
  CHECK(memory->contains(0x10000, 0));
  CHECK_FALSE(memory->contains(0x10001, 0));
  CHECK(memory->read(0, {}));
  CHECK(memory->write(0x10000, {}));
}

TEST_CASE("ring accesses must be naturally aligned and inside RAM", "[memory]") {
  auto memory = two_regions();
  CHECK(memory->store_release<std::uint16_t>(0x20, 7));
  CHECK(memory->load_acquire<std::uint16_t>(0x20) == 7);
  CHECK_FALSE(memory->load_acquire<std::uint16_t>(0x21).has_value());
  CHECK_FALSE(memory->load_acquire<std::uint32_t>(0x22).has_value());
  CHECK_FALSE(memory->store_release<std::uint32_t>(0x10000, 1));
  CHECK_FALSE(memory->load_acquire<std::uint64_t>(kTop - 7).has_value());
}

TEST_CASE("a span is the guest's memory itself", "[memory]") {
  auto memory = two_regions();
  auto bytes = memory->span(0x100010, 2);
  REQUIRE(bytes.has_value());
  (*bytes)[1] = std::byte{0x5a};
  CHECK(memory->read_le<std::uint16_t>(0x100010) == 0x5a00);
}

TEST_CASE("impossible layouts are refused", "[memory]") {
  const auto refused = [](std::vector<MemoryRange> ranges) {
    auto memory = GuestMemory::create(ranges);
    return !memory.ok() && memory.error().reason() == "MEMORY_LAYOUT";
  };
  CHECK(refused({}));
  CHECK(refused({{0, 0}}));
  CHECK(refused({{0, 100}}));
  CHECK(refused({{1, 4096}}));
  CHECK(refused({{0, 8192}, {4096, 4096}}));
  CHECK(refused({{8192, 4096}, {0, 4096}}));
  CHECK(refused({{kTop - 4095, 8192}}));
  CHECK(refused(std::vector<MemoryRange>(9, {0, 4096})));
}

TEST_CASE("host writes are tracked per page while tracking is on", "[memory]") {
  auto memory = two_regions();
  CHECK(memory->write_le<std::uint8_t>(0x3000, 1));  // before tracking: not seen
  memory->track_dirty(true);
  CHECK(memory->write_le<std::uint32_t>(0x1ffe, 1));  // pages 1 and 2
  CHECK(memory->store_release<std::uint16_t>(0x101000, 1));
  memory->mark_dirty(0x5000, 1);
  memory->mark_dirty(kTop - 5, 100);  // ignored

  std::array<std::uint64_t, 1> low{}, high{};
  memory->take_dirty(0, low);
  memory->take_dirty(1, high);
  CHECK(low[0] == 0b100110);
  CHECK(high[0] == 0b10);

  low[0] = 0;
  memory->take_dirty(0, low);
  CHECK(low[0] == 0);
  memory->track_dirty(false);
  CHECK(memory->write_le<std::uint8_t>(0, 1));
  memory->take_dirty(0, low);
  CHECK(low[0] == 0);
}

TEST_CASE("the memory file cannot be resized behind our back", "[memory]") {
  auto memory = two_regions();
  CHECK(ftruncate(memory->fd(), 0) != 0);
  CHECK(ftruncate(memory->fd(), 1 << 30) != 0);
}

namespace {

/// A line of /proc/self/smaps for the mapping that holds `address`.
std::string smaps_line(const void* address, const std::string& field) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%zx-%zx ", &begin, &end) == 2)
      here = begin <= wanted && wanted < end;
    else if (here && line.starts_with(field + ":"))
      return line;
  }
  return "";
}

}  // namespace

TEST_CASE("memory is backed by the pages that were asked for, or refused", "[memory]") {
  const MemoryRange range{0, 4 * kMiB};
  const auto with = [&](PageBacking backing) {
    return GuestMemory::create(std::span(&range, 1), backing);
  };
  const auto flags = [](const Result<std::unique_ptr<GuestMemory>>& memory) {
    REQUIRE(memory.ok());
    return smaps_line(memory.value()->regions()[0].host, "VmFlags") + " ";
  };
  CHECK(flags(with(PageBacking::Small)).find(" hg ") == std::string::npos);
  CHECK(flags(with(PageBacking::Transparent)).find(" hg ") != std::string::npos);
  const auto reserved = with(PageBacking::Reserved);
  if (reserved.ok())
    CHECK(smaps_line(reserved.value()->regions()[0].host, "KernelPageSize").find("2048 kB") !=
          std::string::npos);
  else
    CHECK(reserved.error().reason() == "MEMORY_UNAVAILABLE");
  const MemoryRange odd{0, 3 * kMiB};
  CHECK(GuestMemory::create(std::span(&odd, 1), PageBacking::Reserved).error().reason() ==
        "MEMORY_LAYOUT");
}

TEST_CASE("a part of a file is copied to where it belongs, and to nowhere else", "[memory]") {
  const std::array<MemoryRange, 2> layout{{{0, 4 * kPageSize}, {16 * kPageSize, 4 * kPageSize}}};
  auto memory = GuestMemory::create(layout).value();
  const Fd file(memfd_create("image", MFD_CLOEXEC));
  std::string bytes;
  for (int i = 0; i < 12'000; ++i) bytes += static_cast<char>('a' + i % 23);
  REQUIRE(write_all(file.get(), std::as_bytes(std::span(bytes))).ok());
  const Gpa at = 16 * kPageSize + 100;
  REQUIRE(memory->fill(at, 9'001, std::byte{'-'}));
  REQUIRE(memory->copy_from_file(at, file.get(), 50, 9'000));
  std::string copy(9'001, '\0');
  REQUIRE(memory->read(at, std::as_writable_bytes(std::span(copy))));
  CHECK((copy == bytes.substr(50, 9'000) + '-'));
  CHECK(memory->read_le<std::uint8_t>(at - 1) == 0);
  CHECK(memory->read_le<std::uint8_t>(100) == 0);
  memory->track_dirty(true);
  REQUIRE(memory->copy_from_file(0, file.get(), 0, kPageSize + 1));
  std::array<std::uint64_t, 1> dirty{};
  memory->take_dirty(0, dirty);
  CHECK(dirty[0] == 3);

  CHECK_FALSE(memory->copy_from_file(at, file.get(), 4'000, 9'000));  // the file ends
  CHECK_FALSE(memory->copy_from_file(3 * kPageSize, file.get(), 0, 2 * kPageSize));  // no RAM
  memory->set_content(Content::Lost);
  CHECK_FALSE(memory->copy_from_file(0, file.get(), 0, 1));
}

TEST_CASE("lost memory refuses all access, whatever was there", "[memory]") {
  auto memory = two_regions();
  REQUIRE(memory->write_le<std::uint32_t>(0, 7));
  memory->set_content(Content::Arriving);
  CHECK(memory->read_le<std::uint32_t>(0) == 7u);
  memory->set_content(Content::Lost);
  CHECK_FALSE(memory->read_le<std::uint32_t>(0));
  CHECK_FALSE(memory->write_le<std::uint32_t>(0, 1));
  CHECK_FALSE(memory->fill(0, 16, std::byte{1}));
  CHECK_FALSE(memory->span(0, 16));
  CHECK_FALSE(memory->load_acquire<std::uint32_t>(0));
  CHECK_FALSE(memory->store_release<std::uint32_t>(0, 1));
  CHECK(memory->release(0, kPageSize).error().reason() == "MEMORY_LAYOUT");
  CHECK(memory->contains(0, 16));
}

TEST_CASE("RAM leaves the hole below 4 GiB free", "[memory]") {
  CHECK(ram_layout(32 * kMiB) == std::vector<MemoryRange>{{0, 32 * kMiB}});
  CHECK(ram_layout(3 * kGiB) == std::vector<MemoryRange>{{0, 3 * kGiB}});
  CHECK(ram_layout(8 * kGiB) == std::vector<MemoryRange>{{0, 3 * kGiB}, {4 * kGiB, 5 * kGiB}});
  CHECK(pci_window64(8 * kGiB).base == 64 * kGiB);
  CHECK(pci_window64(100 * kGiB).base == 128 * kGiB);
}

}  // namespace reeve::core
