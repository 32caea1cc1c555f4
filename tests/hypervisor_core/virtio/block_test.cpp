// The block device against a driver: every request kind, limits, a full host disk, hostile
// requests.
#include "hypervisor_core/virtio/devices/block.h"

#include <atomic>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "hypervisor_core/block/async_disk.h"
#include "hypervisor_core/block/create.h"
#include "hypervisor_core/block/raw_disk.h"
#include "hypervisor_core/virtio/worker.h"
#include "reeve/core/v1/devices.pb.h"
#include "tests/hypervisor_core/virtio/device_bench.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;
using reeve::test::TempDir;

namespace {

constexpr std::uint64_t kDiskBytes = 1u << 20;
constexpr std::uint64_t kFlushBit = 1u << 9;

struct Header {
  std::uint32_t type = 0;
  std::uint32_t reserved = 0;
  std::uint64_t sector = 0;
};
struct Range {
  std::uint64_t sector = 0;
  std::uint32_t sectors = 0;
  std::uint32_t flags = 0;
};

std::unique_ptr<RawDisk> raw_disk(const TempDir& dir, Access access = Access::ReadWrite) {
  if (!std::filesystem::exists(dir / "disk")) REQUIRE(create_raw(dir / "disk", kDiskBytes).ok());
  auto fd = open_file(dir / "disk", access == Access::ReadWrite ? O_RDWR : O_RDONLY);
  auto disk = RawDisk::open(std::move(fd).value(), access);
  REQUIRE(disk.ok());
  return std::move(disk).value();
}

/// A disk on a host file system that is full until told otherwise.
class FullDisk final : public Disk {
 public:
  std::uint64_t size_bytes() const override { return kDiskBytes; }
  bool read_only() const override { return false; }
  Status read(std::uint64_t, std::span<const iovec>) override { return {}; }
  Status write(std::uint64_t offset, std::span<const iovec> in) override {
    if (broken) return Error{Code::Internal, "SYSTEM_CALL", "I/O error"};
    if (full) return Error{Code::ResourceExhausted, "DISK_FULL", "no room"};
    written.push_back({offset, std::string(static_cast<const char*>(in[0].iov_base), 4)});
    return {};
  }
  Status write_zeroes(std::uint64_t, std::uint64_t, Unmap) override { return {}; }
  Status flush() override {
    ++flushes;
    if (flush_fails) return Error{Code::Internal, "SYSTEM_CALL", "I/O error"};
    if (flush_full) return Error{Code::ResourceExhausted, "DISK_FULL", "no room"};
    return {};
  }
  bool full = true, broken = false;
  bool flush_fails = false, flush_full = false;
  std::vector<std::pair<std::uint64_t, std::string>> written{};
  int flushes = 0;
};

class Listener final : public BlockEvents {
 public:
  void waiting_changed() override { ++changes; }
  std::atomic<int> changes{0};
};

BlockOptions inline_io() {
  return {.serial = "serial-0", .io = BlockOptions::Io::Inline};
}

/// Submits one request to queue 0, serves it, and returns the status byte, or -1 if it was not
/// answered.
struct Guest {
  DeviceBench bench;
  explicit Guest(Block& block, std::uint64_t without = 0) : bench(block, without) {}

  int request(std::uint32_t type, std::uint64_t sector, std::vector<Buffer> data) {
    auto& driver = bench.drivers[0];
    std::vector<Buffer> buffers{driver.object(Header{type, 0, sector})};
    buffers.insert(buffers.end(), data.begin(), data.end());
    const auto status = driver.writable(1);
    REQUIRE(bench.memory->write_le<std::uint8_t>(status.address, 0xff));
    buffers.push_back(status);
    driver.submit(buffers);
    bench.serve(0);
    if (!driver.take_used()) return -1;
    return driver.text(status)[0];
  }
  int write(std::uint64_t sector, const std::string& text) {
    return request(1, sector, {bench.drivers[0].readable(text)});
  }
  std::string read(std::uint64_t sector, std::uint32_t length) {
    const auto room = bench.drivers[0].writable(length);
    REQUIRE(request(0, sector, {room}) == 0);
    return bench.drivers[0].text(room);
  }
  template <class T>
  T config(std::uint32_t offset, Block& block) {
    std::array<std::byte, sizeof(T)> bytes{};
    block.read_config(offset, bytes);
    return load_le<T>(bytes);
  }
};

}  // namespace

TEST_CASE("what is written to a block device is read back, with every kind of I/O", "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  const auto io =
      GENERATE(BlockOptions::Io::Auto, BlockOptions::Io::Threads, BlockOptions::Io::Inline);
  auto block = Block::create(*disk, {.io = io});
  REQUIRE(block.ok());
  INFO(block.value()->io_kind());
  FakeInterrupts interrupts;
  const auto memory = make_memory();
  DriverSide driver(*memory, 0x1000, 256);
  block.value()->activate({kCommonFeatures | kFlushBit, &interrupts});
  const auto data = std::string(4096, 'a') + std::string(4096, 'b');
  const auto room = driver.writable(8192);
  const auto ok1 = driver.writable(1), ok2 = driver.writable(1), ok3 = driver.writable(1);
  driver.submit({driver.object(Header{1, 0, 8}), driver.readable(data.substr(0, 5000)),
                 driver.readable(data.substr(5000)), ok1});

  auto queue = driver.make_queue(interrupts);
  const auto serve_until = [&](std::uint16_t used) {
    block.value()->serve(0, *queue);
    while (driver.used_index() < used) {
      pollfd wait{block.value()->event_sources().front().fd, POLLIN, 0};
      REQUIRE(::poll(&wait, 1, 10'000) == 1);
      block.value()->serve(0, *queue);
    }
  };
  serve_until(1);
  driver.submit({driver.object(Header{4, 0, 0}), ok2});
  driver.submit({driver.object(Header{0, 0, 8}), room, ok3});
  serve_until(3);
  CHECK(driver.text(room) == data);
  CHECK(driver.text(ok1) + driver.text(ok2) + driver.text(ok3) == std::string(3, '\0'));
  CHECK(block.value()->counters().written_bytes == 8192);
  CHECK(block.value()->counters().read_bytes == 8192);
  CHECK(block.value()->counters().flushes == 1);
}

TEST_CASE("where io_uring is denied, threads do a disk's work", "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  std::string kind;
  std::vector<DiskCompletion> completions;
  std::thread([&] {  // the filter is the thread's own, and of those it makes
    std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
                                     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                                     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
    const sock_fprog program{code.size(), code.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      return;
    auto made = make_async_disk(*disk, 4);
    if (!made.ok()) return;
    auto& async = *made.value();
    kind = async.kind();
    std::string text(4096, 't');
    DiskRequest request{.tag = 7, .offset = 512};
    request.kind = DiskRequest::Kind::Write;
    request.ranges = {{text.data(), text.size()}};
    async.submit(request);
    async.kick();
    async.settle();
    async.reap(completions);
  })
      .join();
  CHECK(kind == "threads");
  REQUIRE(completions.size() == 1);
  CHECK(completions[0].tag == 7);
  CHECK(completions[0].outcome == DiskOutcome::Done);
  const auto content = read_file(dir / "disk").value();
  CHECK(content.substr(511, 3) == std::string("\0tt", 3));
}

namespace {

/// From now on somebody else answers this thread's io_uring_enter() calls: on the returned
/// descriptor.
int let_others_answer() {
  std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  const sock_fprog program{code.size(), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

/// Answers one call, if one comes soon: EAGAIN, or whatever the kernel has to say.
bool answer_one(int calls, bool refuse) {
  pollfd wait{calls, POLLIN, 0};
  if (poll(&wait, 1, 20) != 1) return false;
  seccomp_notif call{};
  if (ioctl(calls, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return false;
  seccomp_notif_resp answer{};
  answer.id = call.id;
  if (refuse)
    answer.error = -EAGAIN;
  else
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return ioctl(calls, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0;
}

}  // namespace

TEST_CASE("a ring that the kernel takes nothing from for a while loses no request", "[virtio]") {
  const bool settles = GENERATE(false, true);
  CAPTURE(settles);
  const TempDir dir;
  const auto disk = raw_disk(dir);
  std::atomic<int> calls{0};  // 0: not known yet; -1: this kernel does not let others answer
  std::atomic<bool> done{false}, ring{false};
  std::vector<DiskCompletion> completions;
  std::thread worker([&] {
    auto made = make_uring_disk(*disk, 4);
    ring = made.ok();
    calls = ring ? let_others_answer() : -1;
    if (calls > 0) {
      auto& async = *made.value();
      std::string text(4096, 't');
      DiskRequest request{.tag = 7, .offset = 512};
      request.kind = DiskRequest::Kind::Write;
      request.ranges = {{text.data(), text.size()}};
      async.submit(request);
      async.kick();
      if (settles) async.settle();
      for (int i = 0; i < 200 && completions.empty(); ++i) {
        pollfd wait{async.event_fd(), POLLIN, 0};
        (void)poll(&wait, 1, 10);
        async.reap(completions);
      }
    }
    done = true;
  });
  int refused = 0;
  while (!done)
    if (calls > 0 && answer_one(calls, refused < 3)) ++refused;
  worker.join();
  if (calls <= 0) {
    WARN("skipped: no io_uring here, or nobody else may answer system calls");
    return;
  }
  CHECK(refused > 3);
  REQUIRE(completions.size() == 1);
  CHECK(completions[0].tag == 7);
  CHECK(completions[0].outcome == DiskOutcome::Done);
  close(calls);
  CHECK(read_file(dir / "disk").value().substr(511, 3) == std::string("\0tt", 3));
}

TEST_CASE("the serial number, discard and write-zeroes work", "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  auto block = Block::create(*disk, inline_io());
  Guest guest(*block.value());
  auto& driver = guest.bench.drivers[0];
  const auto id = driver.writable(20);
  CHECK(guest.request(8, 0, {id}) == 0);
  CHECK(std::string(driver.text(id).c_str()) == "serial-0");

  CHECK(guest.write(0, std::string(8192, 'x')) == 0);
  CHECK(guest.request(13, 0, {driver.object(Range{0, 8, 1})}) == 0);
  CHECK(guest.read(0, 4096) == std::string(4096, '\0'));
  CHECK(guest.request(11, 0, {driver.object(Range{8, 8, 0})}) == 0);
  CHECK(guest.read(8, 4096) == std::string(4096, '\0'));
}

TEST_CASE("requests that make no sense fail and change nothing", "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  auto block = Block::create(*disk, inline_io());
  Guest guest(*block.value());
  auto& driver = guest.bench.drivers[0];
  constexpr std::uint64_t kEnd = kDiskBytes / 512;
  CHECK(guest.write(kEnd, std::string(512, 'x')) == 1);
  CHECK(guest.write(kEnd - 1, std::string(1024, 'x')) == 1);
  CHECK(guest.write(~std::uint64_t{0}, std::string(512, 'x')) == 1);
  CHECK(guest.write(~std::uint64_t{0} / 512, std::string(512, 'x')) == 1);
  CHECK(guest.write(0, std::string(100, 'x')) == 1);
  CHECK(guest.request(1, 0, {}) == 1);
  CHECK(guest.request(99, 0, {}) == 2);
  CHECK(guest.request(11, 0, {driver.object(Range{kEnd, 8, 0})}) == 1);
  CHECK(guest.request(11, 0, {driver.object(Range{0, ~0u, 0})}) == 1);
  CHECK(guest.request(11, 0, {driver.object(Range{0, 8, 1})}) == 2);
  CHECK(guest.request(13, 0, {driver.object(Range{0, 8, 2})}) == 2);
  CHECK(guest.request(13, 0, {driver.readable("short")}) == 1);
  CHECK(guest.read(0, 512) == std::string(512, '\0'));
  SECTION("a request without a header") {
    driver.submit({driver.readable("tiny"), driver.writable(1)});
  }
  SECTION("a request without room for the status") {
    driver.submit({driver.object(Header{0, 0, 0}), driver.readable("data")});
  }
  guest.bench.serve(0);
  CHECK(driver.take_used()->length == 0);
  CHECK(block.value()->counters().bad_chains == 1);
}

TEST_CASE("a read-only disk says so and refuses writes", "[virtio]") {
  const TempDir dir;
  { raw_disk(dir); }
  const auto disk = raw_disk(dir, Access::ReadOnly);
  auto block = Block::create(*disk, inline_io());
  CHECK((block.value()->traits().features & (1u << 5)) != 0);
  Guest guest(*block.value());
  CHECK(guest.write(0, std::string(512, 'x')) == 1);
  CHECK(guest.request(13, 0, {guest.bench.drivers[0].object(Range{0, 8, 0})}) == 1);
  CHECK(guest.request(4, 0, {}) == 0);
}

TEST_CASE("the configuration tells size, queues and limits, and a resize is announced",
          "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  auto options = inline_io();
  options.queues = 4;
  auto block = Block::create(*disk, options);
  Guest guest(*block.value());
  CHECK(block.value()->traits().queue_sizes.size() == 4);
  CHECK(guest.config<std::uint64_t>(0, *block.value()) == kDiskBytes / 512);
  CHECK(guest.config<std::uint32_t>(12, *block.value()) == 254);
  CHECK(guest.config<std::uint16_t>(34, *block.value()) == 4);
  CHECK(guest.config<std::uint32_t>(100, *block.value()) == 0);
  REQUIRE(disk->resize()->grow(2 * kDiskBytes).ok());
  block.value()->announce_size();
  CHECK(guest.config<std::uint64_t>(0, *block.value()) == 2 * kDiskBytes / 512);
  CHECK(guest.bench.interrupts.config == 1);
  CHECK(disk->resize()->grow(kDiskBytes).error().reason() == "DISK_SHRINK");
  CHECK(disk->resize()->grow(2 * kDiskBytes + 1).error().reason() == "DISK_SIZE");
  CHECK(guest.config<std::uint64_t>(0, *block.value()) == 2 * kDiskBytes / 512);
}

TEST_CASE("a driver that cannot flush gets every write written through", "[virtio]") {
  FullDisk disk;
  disk.full = false;
  auto block = Block::create(disk, inline_io());
  {
    Guest guest(*block.value(), kFlushBit);
    CHECK(guest.write(0, std::string(512, 'x')) == 0);
    CHECK(disk.flushes == 1);
  }
  Guest guest(*block.value());
  CHECK(guest.write(0, std::string(512, 'x')) == 0);
  CHECK(disk.flushes == 1);
}

TEST_CASE("a write that is written through waits until its flush, too, has gone through",
          "[virtio]") {
  FullDisk disk;
  disk.full = false;
  auto options = inline_io();
  SECTION("no room for it") {
    disk.flush_full = true;
  }
  SECTION("errors, which are to be waited for") {
    disk.flush_fails = true;
    options.on_error = BlockOptions::OnError::Wait;
  }
  auto block = Block::create(disk, options);
  Guest guest(*block.value(), kFlushBit);
  CHECK(guest.write(0, std::string(512, 'x')) == -1);
  CHECK(block.value()->waiting() == 1);
  for (int again = 2; again <= 3; ++again) {
    block.value()->on_event(1, guest.bench);  // the timer
    CHECK(guest.bench.drivers[0].used_index() == 0);
    CHECK(disk.flushes == again);
  }
  disk.flush_full = disk.flush_fails = false;
  block.value()->on_event(1, guest.bench);
  CHECK(guest.bench.drivers[0].used_index() == 1);
  CHECK(disk.flushes == 4);
  CHECK(disk.written.size() == 4);  // what a failed flush dropped is not there to be flushed again
  CHECK(block.value()->waiting() == 0);
}

TEST_CASE("a write that is written through fails with its flush", "[virtio]") {
  FullDisk disk;
  disk.full = false;
  disk.flush_fails = true;
  auto block = Block::create(disk, inline_io());
  Guest guest(*block.value(), kFlushBit);
  CHECK(guest.write(0, std::string(512, 'x')) == 1);
  CHECK(disk.flushes == 1);
}

TEST_CASE("writes to a full host disk wait, are reported, and go through when there is room",
          "[virtio]") {
  FullDisk disk;
  Listener listener;
  auto options = inline_io();
  options.events = &listener;
  auto block = Block::create(disk, options);
  Guest guest(*block.value());
  CHECK(guest.write(0, std::string(512, 'x')) == -1);
  CHECK(listener.changes == 1);
  CHECK(block.value()->waiting() == 1);
  CHECK_FALSE(block.value()->waits_for_errors());
  block.value()->on_event(1, guest.bench);  // the timer
  CHECK(guest.bench.drivers[0].used_index() == 0);
  CHECK(listener.changes == 1);
  disk.full = false;
  block.value()->on_event(1, guest.bench);
  CHECK(guest.bench.drivers[0].used_index() == 1);
  CHECK(listener.changes == 2);
  CHECK(block.value()->waiting() == 0);
}

TEST_CASE("an I/O error is the guest's to know, or waits until it is over, as the machine has it",
          "[virtio]") {
  FullDisk disk;
  disk.full = false;
  disk.broken = true;
  auto options = inline_io();
  auto reports = Block::create(disk, options);
  CHECK(Guest(*reports.value()).write(0, std::string(512, 'x')) == 1);
  options.on_error = BlockOptions::OnError::Wait;
  auto waits = Block::create(disk, options);
  Guest guest(*waits.value());
  CHECK(guest.write(0, std::string(512, 'x')) == -1);
  CHECK(waits.value()->waits_for_errors());
  disk.broken = false;
  waits.value()->on_event(1, guest.bench);
  CHECK(guest.bench.drivers[0].used_index() == 1);
  CHECK(waits.value()->waiting() == 0);
}

TEST_CASE("writes that wait for room survive a pause, and a move to another process", "[virtio]") {
  FullDisk disk;
  auto block = Block::create(disk, inline_io());
  Guest guest(*block.value());
  CHECK(guest.write(0, "aaaa" + std::string(508, 'x')) == -1);
  CHECK(guest.write(8, "bbbb" + std::string(508, 'x')) == -1);
  guest.bench.restart();  // still full: both are tried and wait again
  guest.bench.serve(0);
  CHECK(guest.bench.drivers[0].used_index() == 0);
  CHECK(block.value()->waiting() == 2);

  block.value()->quiesce(guest.bench);
  const auto state = block.value()->save_state();
  FullDisk elsewhere;
  elsewhere.full = false;
  auto moved = Block::create(elsewhere, inline_io());
  REQUIRE(moved.value()->load_state(state).ok());
  moved.value()->serve(0, *guest.bench.queues[0]);
  CHECK(guest.bench.drivers[0].used_index() == 2);
  CHECK(elsewhere.written ==
        std::vector<std::pair<std::uint64_t, std::string>>{{0, "aaaa"}, {8 * 512, "bbbb"}});
}

TEST_CASE("waiting requests in a saved state that lies harm nothing", "[virtio]") {
  FullDisk disk;
  auto block = Block::create(disk, inline_io());
  Guest guest(*block.value());
  CHECK(guest.write(0, std::string(512, 'x')) == -1);
  block.value()->quiesce(guest.bench);
  v1::BlockState state;
  REQUIRE(state.ParseFromString(block.value()->save_state()));
  REQUIRE(state.waiting_size() == 1);
  state.add_waiting(1u << 16);
  CHECK(block.value()->load_state(state.SerializeAsString()).error().reason() == "DEVICE_STATE");
  state.set_waiting(1, Block::kQueueSize);
  CHECK(block.value()->load_state(state.SerializeAsString()).error().reason() == "DEVICE_STATE");
  state.set_waiting(1, state.waiting(0));  // twice: the second breaks the ring
  REQUIRE(block.value()->load_state(state.SerializeAsString()).ok());
  block.value()->serve(0, *guest.bench.queues[0]);
  CHECK(guest.bench.queues[0]->broken());
  while (state.waiting_size() < 1000) state.add_waiting(0);
  CHECK(block.value()->load_state(state.SerializeAsString()).error().reason() == "DEVICE_STATE");
}

TEST_CASE("a rate limit leaves requests in the ring until their time has come", "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  auto options = inline_io();
  options.limit = {.operations_per_second = 2};
  auto block = Block::create(*disk, options);
  Guest guest(*block.value());
  CHECK(guest.write(0, std::string(512, 'x')) == 0);
  CHECK(guest.write(1, std::string(512, 'x')) == 0);
  CHECK(guest.write(2, std::string(512, 'x')) == -1);
  CHECK(block.value()->counters().throttled == 1);
  CHECK(guest.bench.queues[0]->in_flight() == 0);
  block.value()->set_limit({});
  block.value()->on_event(1, guest.bench);
  CHECK(guest.bench.drivers[0].used_index() == 3);
}

TEST_CASE("a rate limiter allows a second's burst and then the rate", "[virtio]") {
  struct Hand final : Clock {
    WallTime wall() const override { return {}; }
    Monotonic monotonic() const override { return now; }
    Monotonic now{};
  } clock;
  RateLimiter limiter(clock);
  CHECK(limiter.take(1u << 30).count() == 0);
  limiter.set({.bytes_per_second = 1000});
  CHECK(limiter.take(600).count() == 0);
  CHECK(limiter.take(600).count() > 199'000);
  clock.now += std::chrono::milliseconds(200);
  CHECK(limiter.take(600).count() == 0);
  CHECK(limiter.take(5000).count() > 0);
  clock.now += std::chrono::seconds(1);
  CHECK(limiter.take(5000).count() ==
        0);  // larger than the bucket: goes, and is paid for afterwards
  clock.now += std::chrono::seconds(2);
  CHECK(limiter.take(1).count() > 0);
}

TEST_CASE("a multi-queue block device serves real workers", "[virtio]") {
  const TempDir dir;
  const auto disk = raw_disk(dir);
  auto block = Block::create(*disk, {.queues = 2});
  FakeInterrupts interrupts;
  const auto memory = make_memory(8u << 20);
  block.value()->activate({kCommonFeatures | kFlushBit, &interrupts});
  std::vector<DriverSide> drivers;
  std::vector<QueueSlot> slots;
  const Fd kicks[2] = {Fd(::eventfd(0, EFD_NONBLOCK)), Fd(::eventfd(0, EFD_NONBLOCK))};
  std::vector<Buffer> rooms;
  for (std::uint16_t i = 0; i < 2; ++i) {
    drivers.emplace_back(*memory, 0x1000 + 0x400000u * i, 256, kCommonFeatures, i);
    for (int n = 0; n < 50; ++n)
      drivers[i].submit({drivers[i].object(Header{1, 0, static_cast<std::uint64_t>(100 * i + n)}),
                         drivers[i].readable(std::string(512, static_cast<char>('A' + n))),
                         drivers[i].writable(1)});
    slots.push_back({drivers[i].make_queue(interrupts), kicks[i].get()});
  }
  auto workers = Workers::start(*block.value(), std::move(slots), {.name = "blk"});
  REQUIRE(workers.ok());
  const auto returned = workers.value()->stop();
  REQUIRE(returned.size() == 2);
  CHECK(returned[0].queue->in_flight() == 0);
  CHECK(drivers[0].used_index() == 50);
  CHECK(drivers[1].used_index() == 50);
  std::string text(512, '\0');
  REQUIRE(disk->read_bytes(149 * 512, std::as_writable_bytes(std::span(text))).ok());
  CHECK(text == std::string(512, static_cast<char>('A' + 49)));
}

TEST_CASE("a block device's state is accepted only where the disk is the same", "[virtio]") {
  const TempDir dir;
  auto disk = raw_disk(dir);
  auto block = Block::create(*disk, inline_io());
  const auto state = block.value()->save_state();
  CHECK(block.value()->load_state(state).ok());
  CHECK(block.value()->load_state("x").error().reason() == "DEVICE_STATE");
  auto options = inline_io();
  options.queues = 2;
  CHECK(Block::create(*disk, options).value()->load_state(state).error().reason() ==
        "DEVICE_STATE");
  FullDisk without_discard;  // and of the same size
  CHECK(Block::create(without_discard, inline_io()).value()->load_state(state).error().message() ==
        "the disk cannot discard here");
  REQUIRE(disk->resize()->grow(2 * kDiskBytes).ok());
  CHECK(block.value()->load_state(state).error().message() == "the disk has another size here");
}
