// hypervisor_core/fuzz/fuzz_qcow2.cpp - a hostile image: looked at, opened, read, written, flushed,
// reopened.
//
// The input is edits to a sound image of 512-byte clusters (so that tables are within reach of a
// few bytes) followed by work on it; or, with the first byte odd, the image itself.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"
#include "base/random.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/qcow2_disk.h"
#include "hypervisor_core/fuzz/input.h"

using namespace reeve;
using namespace reeve::core;

namespace {

constexpr std::uint64_t kDiskBytes = 128u << 10;

/// A small image with data, zeroes and holes in it, made once.
const std::string& sound_image() {
  static const std::string image = [] {
    const auto path =
        std::filesystem::temp_directory_path() / ("reeve-fuzz-qcow2-" + std::to_string(::getpid()));
    (void)remove_file(path);
    REEVE_CHECK(create_qcow2(path, kDiskBytes, 9).ok());
    {
      auto disk = Qcow2Disk::open(open_file(path, O_RDWR).value(), Access::ReadWrite);
      REEVE_CHECK(disk.ok());
      const std::vector<std::byte> data(5000, std::byte{0x5a});
      REEVE_CHECK(disk.value()->write_bytes(512, data).ok());
      REEVE_CHECK(disk.value()->write_bytes(100'000, data).ok());
      REEVE_CHECK(disk.value()->discard()->discard(1024, 1024).ok());
    }
    auto content = read_file(path);
    (void)remove_file(path);
    return std::move(content).value();
  }();
  return image;
}

Fd memory_file(std::string_view content) {
  Fd fd(::memfd_create("image", MFD_CLOEXEC));
  REEVE_CHECK(fd && write_at(fd.get(), 0, std::as_bytes(std::span(content))).ok());
  return fd;
}

void work(Disk& disk, fuzz::Input& input) {
  for (int i = 0; i < 40 && !input.empty(); ++i) {
    const auto what = input.number<std::uint8_t>();
    const std::uint64_t offset = input.number<std::uint16_t>() * 4u;
    const std::uint64_t length = input.number<std::uint8_t>() * 33u;
    std::vector<std::byte> bytes(length, static_cast<std::byte>(i));
    switch (what % 8) {
      case 0:
      case 1: (void)disk.write_bytes(offset, bytes); break;
      case 2: (void)disk.write_zeroes(offset, length, Disk::Unmap::Yes); break;
      case 3: (void)disk.discard()->discard(offset, length); break;
      case 4: (void)disk.flush(); break;
      case 5:
        if (disk.size_bytes() < 4 * kDiskBytes) (void)disk.resize()->grow(disk.size_bytes() + 512);
        break;
      case 6: (void)disk.extents()->extent_at(offset, length); break;
      default: (void)disk.read_bytes(offset, bytes); break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto kind = input.number<std::uint8_t>();
  std::string image = sound_image();
  if (kind % 2 == 1) {
    const auto bytes = input.rest();
    image.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } else {
    for (int edits = kind / 2 % 16; edits > 0; --edits) {
      const auto at = input.number<std::uint16_t>() % image.size();
      for (const std::byte b : input.take(input.number<std::uint8_t>() % 9))
        if (at < image.size()) image[at] = static_cast<char>(b);
    }
  }
  Fd fd = memory_file(image);
  auto copy = fd.duplicate();
  const Access access = kind / 32 % 4 == 3 ? Access::ReadOnly : Access::ReadWrite;
  auto disk = Qcow2Disk::open(std::move(fd), access);
  if (!disk.ok()) return 0;
  if (disk.value()->size_bytes() > 64 * kDiskBytes) return 0;  // only the time it would take
  work(*disk.value(), input);
  disk.value().reset();
  (void)Qcow2Disk::open(std::move(copy).value(), Access::ReadOnly);
  return 0;
}
