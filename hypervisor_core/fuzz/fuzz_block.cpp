// hypervisor_core/fuzz/fuzz_block.cpp - the block device on a disk in memory that is sometimes
// full.
#include <cstring>

#include "base/check.h"
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/virtio/devices/block.h"

using namespace reeve;
using namespace reeve::core;

namespace {

class MemoryDisk final : public Disk, private Discard {
 public:
  explicit MemoryDisk(std::uint8_t mood) : mood_(mood) {}
  std::uint64_t size_bytes() const override { return bytes_.size(); }
  bool read_only() const override { return (mood_ & 1) != 0; }
  Status read(std::uint64_t offset, std::span<const iovec> out) override {
    TRY(check_range(offset, total_length(out)));
    for (const auto& range : out) {
      std::memcpy(range.iov_base, bytes_.data() + offset, range.iov_len);
      offset += range.iov_len;
    }
    return {};
  }
  Status write(std::uint64_t offset, std::span<const iovec> in) override {
    REEVE_CHECK(!read_only());
    TRY(check_range(offset, total_length(in)));
    if ((mood_ & 2) != 0 && ++writes_ % 3 != 0)
      return Error{Code::ResourceExhausted, "DISK_FULL", "no room"};
    for (const auto& range : in) {
      std::memcpy(bytes_.data() + offset, range.iov_base, range.iov_len);
      offset += range.iov_len;
    }
    return {};
  }
  Status write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap) override {
    REEVE_CHECK(!read_only());
    TRY(check_range(offset, length));
    std::memset(bytes_.data() + offset, 0, length);
    return {};
  }
  Status flush() override { return {}; }
  Discard* discard() override { return (mood_ & 4) != 0 ? this : nullptr; }

 private:
  Status discard(std::uint64_t offset, std::uint64_t length) override {
    return check_range(offset, length);
  }
  const std::uint8_t mood_;
  unsigned writes_ = 0;
  std::vector<std::byte> bytes_ = std::vector<std::byte>(64u << 10);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  MemoryDisk disk(input.number<std::uint8_t>());
  auto device = virtio::Block::create(
      disk, {.serial = "fuzz", .queues = 2, .io = virtio::BlockOptions::Io::Inline});
  REEVE_CHECK(device.ok());
  fuzz::DeviceRun(*device.value(), fuzz::shared_memory()).play(input);
  return 0;
}
