// What a flush promises: that it reached the host's disk. Killing a process loses nothing of the
// page cache, so that only these tests notice a flush which asks the host for nothing.
//
// This binary defines fdatasync(2), to count the calls.
#include <atomic>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "hypervisor_core/block/chain.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/qcow2_disk.h"
#include "hypervisor_core/block/raw_disk.h"
#include "hypervisor_core/virtio/devices/block.h"
#include "tests/hypervisor_core/virtio/device_bench.h"
#include "tests/support/temp_dir.h"

namespace {

std::atomic<int> watched{-1}, syncs{0};

}  // namespace

extern "C" int fdatasync(int fd) {
  if (fd == watched) ++syncs;
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace {

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;
using reeve::test::TempDir;
using Io = BlockOptions::Io;

constexpr std::uint64_t kDiskBytes = 1u << 20;
constexpr std::uint64_t kFlushBit = 1u << 9;
enum RequestType : std::uint32_t { kWrite = 1, kFlush = 4 };

std::unique_ptr<RawDisk> raw_disk(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) REQUIRE(create_raw(path, kDiskBytes).ok());
  auto disk = RawDisk::open(open_file(path, O_RDWR).value(), Access::ReadWrite);
  REQUIRE(disk.ok());
  return std::move(disk).value();
}

/// From now on the descriptor takes writes, and fsync(2) on it fails: it has no disk.
void take_the_disk_away(int fd) {
  const Fd nowhere = open_file("/dev/null", O_RDWR).value();
  REQUIRE(::dup2(nowhere.get(), fd) == fd);
  errno = 0;
  REQUIRE((::fsync(fd) != 0 && errno == EINVAL));
}

Status put(Disk& disk, std::uint64_t offset, char letter) {
  const std::string text(4096, letter);
  return disk.write_bytes(offset, std::as_bytes(std::span(text)));
}

/// A driver that waits for each of its requests, however the device does them.
class Driver {
 public:
  Driver(Disk& disk, Io io, std::uint64_t features) {
    auto made = Block::create(disk, {.io = io});
    REQUIRE(made.ok());
    block_ = std::move(made).value();
    block_->activate({kCommonFeatures | features, &interrupts_});
    queue_ = driver_.make_queue(interrupts_);
  }
  std::string_view io_kind() const { return block_->io_kind(); }

  /// The status byte.
  int request(RequestType type) {
    struct {
      std::uint32_t type = 0, reserved = 0;
      std::uint64_t sector = 0;
    } header;
    header.type = type;
    const auto status = driver_.writable(1);
    REQUIRE(memory_->write_le<std::uint8_t>(status.address, 0xff));
    if (type == kWrite)
      driver_.submit({driver_.object(header), driver_.readable(std::string(4096, 'w')), status});
    else
      driver_.submit({driver_.object(header), status});
    ++submitted_;
    block_->serve(0, *queue_);
    while (driver_.used_index() != submitted_) {
      pollfd wait{block_->event_sources().front().fd, POLLIN, 0};
      REQUIRE(::poll(&wait, 1, 10'000) == 1);
      block_->serve(0, *queue_);
    }
    return driver_.text(status)[0];
  }

 private:
  std::unique_ptr<GuestMemory> memory_ = make_memory();
  FakeInterrupts interrupts_;
  DriverSide driver_{*memory_, 0x1000, 256};
  std::unique_ptr<Block> block_;
  std::unique_ptr<Queue> queue_;
  std::uint16_t submitted_ = 0;
};

void expect_kind(const Driver& driver, Io io) {
  CAPTURE(driver.io_kind());
  if (io == Io::Threads) REQUIRE(driver.io_kind() == "threads");
  if (io == Io::Inline) REQUIRE(driver.io_kind() == "inline");
  if (io == Io::Auto && driver.io_kind() != "uring") WARN("no io_uring here: threads once more");
}

}  // namespace

TEST_CASE("a flush that the host cannot carry out fails, with every kind of I/O",
          "[virtio][flush]") {
  const auto io = GENERATE(Io::Auto, Io::Threads, Io::Inline);
  const TempDir dir;
  const auto disk = raw_disk(dir / "disk");
  Driver driver(*disk, io, kFlushBit);
  expect_kind(driver, io);
  CHECK(driver.request(kWrite) == 0);
  CHECK(driver.request(kFlush) == 0);
  take_the_disk_away(disk->file()->fd());
  CHECK(driver.request(kWrite) == 0);
  CHECK(driver.request(kFlush) == 1);
}

TEST_CASE("without FLUSH every write is answered after the host's sync, or not with success",
          "[virtio][flush]") {
  const auto io = GENERATE(Io::Auto, Io::Threads, Io::Inline);
  const TempDir dir;
  const auto disk = raw_disk(dir / "disk");
  Driver driver(*disk, io, 0);
  expect_kind(driver, io);
  CHECK(driver.request(kWrite) == 0);
  take_the_disk_away(disk->file()->fd());
  CHECK(driver.request(kWrite) == 1);
}

TEST_CASE("one flush is one sync of the disk's own file", "[virtio][flush]") {
  const auto io = GENERATE(Io::Threads, Io::Inline);  // a ring makes no system call of its own
  const TempDir dir;
  const auto disk = raw_disk(dir / "disk");
  watched = disk->file()->fd();
  const auto syncs_of = [](Driver& driver, RequestType type) {
    syncs = 0;
    CHECK(driver.request(type) == 0);
    return syncs.load();
  };
  {
    Driver driver(*disk, io, kFlushBit);
    CHECK(syncs_of(driver, kWrite) == 0);
    CHECK(syncs_of(driver, kFlush) == 1);
    CHECK(syncs_of(driver, kFlush) == 1);
  }
  Driver careful(*disk, io, 0);
  CHECK(syncs_of(careful, kWrite) == 1);
  watched = -1;
}

TEST_CASE("a qcow2 image is synced for data that changed none of its tables", "[virtio][flush]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "disk", kDiskBytes).ok());
  Fd fd = open_file(dir / "disk", O_RDWR).value();
  const int number = fd.get();
  auto disk = Qcow2Disk::open(std::move(fd), Access::ReadWrite, nullptr);
  REQUIRE(disk.ok());
  auto& image = *disk.value();
  REQUIRE(put(image, 0, 'a').ok());
  for (int i = 0; i < 3; ++i) REQUIRE(image.flush().ok());  // nothing is left to be written back
  REQUIRE(put(image, 0, 'b').ok());
  watched = number;
  syncs = 0;
  CHECK(image.flush().ok());
  CHECK(syncs == 1);
  watched = -1;
  take_the_disk_away(number);
  CHECK_FALSE(image.flush().ok());
}

TEST_CASE("a commit or copy that was not synced has not been done", "[virtio][flush]") {
  const TempDir dir;
  REQUIRE(create_qcow2(dir / "top", kDiskBytes).ok());
  auto top = Qcow2Disk::open(open_file(dir / "top", O_RDWR).value(), Access::ReadWrite, nullptr);
  REQUIRE(top.ok());
  REQUIRE(put(*top.value(), 0, 'a').ok());
  const auto base = raw_disk(dir / "base");
  CHECK(commit_overlay(*top.value(), *base).ok());
  CHECK(copy_disk(*top.value(), *base).ok());
  take_the_disk_away(base->file()->fd());
  CHECK_FALSE(commit_overlay(*top.value(), *base).ok());
  CHECK_FALSE(copy_disk(*top.value(), *base).ok());
}
