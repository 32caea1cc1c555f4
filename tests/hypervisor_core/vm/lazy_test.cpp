// Memory that is read while the machine runs: all of it arrives, none of it comes back from the
// dead, and what cannot be read ends the machine.
#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "hypervisor_core/block/raw_disk.h"
#include "hypervisor_core/virtio/devices/block.h"
#include "hypervisor_core/vm/lazy_memory.h"
#include "hypervisor_core/vm/vm.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/hypervisor_core/virtio/driver_side.h"

namespace reeve::core {
namespace {

using namespace std::chrono_literals;

/// Waits for each typed character and prints the next letter of its own counter, kept in memory.
const std::initializer_list<int> kCounter = {
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,  // wait for input
    0x66, 0xba, 0xf8, 0x03, 0xec,                          // take it
    0xfe, 0x05, 0x00, 0x00, 0x20, 0x00,                    // inc byte [0x200000]
    0xa0, 0x00, 0x00, 0x20, 0x00, 0x04, 'a',  0xee,        // print 'a' + it
    0xeb, 0xe2};

constexpr std::uint64_t kMiB = 1 << 20;
constexpr Gpa kPattern = 8 * kMiB;  ///< from here on every page holds its own number

std::string console_when(Vm& vm, std::uint64_t from, std::size_t length) {
  for (int i = 0; i < 2000 && vm.console().end_offset() < from + length; ++i)
    (void)vm.wait_until_ended(2ms);
  return vm.console().read(from, 100).bytes;
}

template <class T>
T take(Result<T> result) {
  if (!result.ok()) FAIL(result.error().message());
  return std::move(result).value();
}

bool lazy_here() {
  const MemoryRange range{0, kMiB};
  auto memory = take(GuestMemory::create(std::span(&range, 1)));
  auto lazy = LazyMemory::start(*memory, Fd(memfd_create("empty", 0)), {}, [](const Error&) {});
  if (lazy.ok()) return true;
  WARN("skipped: " << lazy.error().message());
  return false;
}

/// A saved machine with a pattern in `used` of its memory, in a file without a name.
class Saved {
 public:
  /// `more` may write other memory below the pattern.
  explicit Saved(accel::Accelerator& kvm, std::uint64_t used = 32 * kMiB,
                 const std::function<void(GuestMemory&)>& more = {})
      : used_(used) {
    auto config = kernel_.config();
    config.set_memory_mib(memory_bytes() / kMiB);
    auto vm = take(Vm::create(config, kvm));
    REQUIRE(vm->start().ok());
    REQUIRE(vm->type(as_bytes("x")) == 1);
    REQUIRE(console_when(*vm, 0, 1) == "b");
    REQUIRE(vm->pause().ok());
    bool written = true;  // one assertion: they take most of the time in the lab
    for (Gpa at = kPattern; at < kPattern + used; at += kPageSize)
      written = vm->board().memory().write_le<std::uint64_t>(at, at + 1) && written;
    REQUIRE(written);
    if (more) more(vm->board().memory());
    FdSink sink(file_.get());
    REQUIRE(vm->save(sink).ok());
  }
  std::uint64_t memory_bytes() const { return used_ + kPattern + 8 * kMiB; }
  int fd() const { return file_.get(); }
  Fd file() const { return take(file_.duplicate()); }
  std::uint64_t size() const { return static_cast<std::uint64_t>(lseek(fd(), 0, SEEK_END)); }
  std::uint64_t used() const { return used_; }
  Result<std::unique_ptr<Vm>> restore(accel::Accelerator& kvm, VmOptions options = {}) const {
    REQUIRE(lseek(fd(), 0, SEEK_SET) == 0);
    return Vm::restore_lazily(take(file_.duplicate()), kvm, std::move(options));
  }
  /// Flips a bit.
  void damage(const SavedChunk& chunk) const {
    const auto at = static_cast<off_t>(chunk.offset + 1000);
    char byte = 0;
    REQUIRE(pread(fd(), &byte, 1, at) == 1);
    byte = static_cast<char>(byte ^ 4);
    REQUIRE(pwrite(fd(), &byte, 1, at) == 1);
  }
  /// How many pages of the pattern are not what was saved.
  std::uint64_t wrong_pages(Vm& vm) const {
    std::uint64_t wrong = 0;
    for (Gpa at = kPattern; at < kPattern + used_; at += kPageSize)
      if (vm.board().memory().read_le<std::uint64_t>(at) != at + 1) ++wrong;
    return wrong;
  }

 private:
  const std::uint64_t used_;
  const test::PayloadKernel kernel_{kCounter};
  const Fd file_{memfd_create("saved", MFD_CLOEXEC)};
};

}  // namespace

TEST_CASE("a machine runs before its memory is read, and finds all of it",
          "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  const Saved saved(*kvm, 128 * kMiB);
  CHECK(saved.size() < saved.used() * 11 / 10);
  auto vm = take(saved.restore(*kvm));
  REQUIRE(vm->resume().ok());
  CHECK(vm->type(as_bytes("x")) == 1);
  CHECK(console_when(*vm, 0, 1) == "c");
  const auto left = vm->status().memory_to_read_bytes();
  INFO("bytes left when the guest had answered: " << left);
  CHECK(left > 0);
  CHECK(saved.wrong_pages(*vm) == 0);
  for (int i = 0; i < 1000 && vm->status().memory_to_read_bytes() != 0; ++i)
    (void)vm->wait_until_ended(2ms);
  CHECK(vm->status().memory_to_read_bytes() == 0);
  CHECK(vm->board().memory().read_le<std::uint64_t>(kPattern + saved.used()) == 0);
}

TEST_CASE("what is touched first comes first", "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  const Saved saved(*kvm, 128 * kMiB);
  auto vm = take(saved.restore(*kvm));
  const Gpa last = kPattern + saved.used() - kPageSize;
  CHECK(vm->board().memory().read_le<std::uint64_t>(last) == last + 1);
  CHECK(vm->status().memory_to_read_bytes() > 0);
}

TEST_CASE("memory given back while it is being read stays empty", "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  const Saved saved(*kvm, 64 * kMiB);
  auto vm = take(saved.restore(*kvm));
  auto& memory = vm->board().memory();
  // As the balloon and free page reporting do: beginning, middle and end, across chunks.
  const Gpa given[] = {kPattern + 5 * kPageSize, kPattern + saved.used() / 2,
                       kPattern + saved.used() - 300 * kPageSize};
  for (const Gpa at : given) REQUIRE(memory.release(at, 100 * kPageSize).ok());
  std::uint64_t stale = 0, lost = 0;
  for (Gpa at = kPattern; at < kPattern + saved.used(); at += kPageSize) {
    const bool gone = std::any_of(std::begin(given), std::end(given),
                                  [&](Gpa g) { return at >= g && at < g + 100 * kPageSize; });
    const auto value = memory.read_le<std::uint64_t>(at);
    if (gone && value != 0) ++stale;
    if (!gone && value != at + 1) ++lost;
  }
  CHECK(stale == 0);
  CHECK(lost == 0);
}

TEST_CASE("a reset while memory is being read forgets the saved memory", "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  const Saved saved(*kvm, 64 * kMiB);
  auto vm = take(saved.restore(*kvm));
  REQUIRE(vm->resume().ok());
  REQUIRE(vm->reset().ok());
  CHECK(vm->type(as_bytes("x")) == 1);
  CHECK(console_when(*vm, 0, 1) == "b");
  CHECK(saved.wrong_pages(*vm) == saved.used() / kPageSize);
}

TEST_CASE("a machine saved again while its memory is read loses nothing",
          "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  const Saved saved(*kvm, 64 * kMiB);
  auto vm = take(saved.restore(*kvm));
  const Fd again(memfd_create("again", MFD_CLOEXEC));
  FdSink sink(again.get());
  REQUIRE(vm->save(sink).ok());
  vm.reset();
  REQUIRE(lseek(again.get(), 0, SEEK_SET) == 0);
  FdSource source(again.get());
  auto third = take(Vm::restore(source, *kvm));  // all memory first, from the same format
  CHECK(saved.wrong_pages(*third) == 0);
  REQUIRE(third->resume().ok());
  CHECK(third->type(as_bytes("x")) == 1);
  CHECK(console_when(*third, 0, 1) == "c");
}

TEST_CASE("memory that cannot be read ends the machine by name, and nobody hangs",
          "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  const Saved saved(*kvm, 64 * kMiB);
  int heard = 0;
  VmOptions options;
  options.on_memory_lost = [&](const v1::ExitReport&) { ++heard; };
  std::string reason;
  SECTION("a bit flipped in the middle") {
    const auto index = take(read_index(saved.fd()));
    saved.damage(index.chunks[index.chunks.size() / 2]);
    reason = "STATE_CHECKSUM";
  }
  SECTION("the file cut short while it is read") {
    reason = "STATE_TRUNCATED";
  }
  auto vm = take(saved.restore(*kvm, options));
  if (reason == "STATE_TRUNCATED")
    REQUIRE(ftruncate(saved.fd(), static_cast<off_t>(saved.size() / 4)) == 0);
  // It is read from the start, so that the damage may be found first.
  const auto resumed = vm->resume();
  CHECK((resumed.ok() || resumed.error().reason() == "VM_ENDED"));
  REQUIRE(vm->wait_until_ended(20s));
  CHECK(vm->exit()->kind() == v1::ExitReport::KIND_MEMORY_LOST);
  const auto message = vm->exit()->message();
  INFO(message);
  CHECK(vm->exit()->message().find(reason) != std::string::npos);
  CHECK(vm->exit()->message().find("memory at 0x") != std::string::npos);
  vm.reset();
  CHECK(heard == 1);
}

TEST_CASE("a disk whose request waits for lost memory writes nothing, not even zeroes",
          "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm || !lazy_here()) return;
  constexpr std::uint64_t kSector = 512;
  const Fd file(memfd_create("disk", MFD_CLOEXEC));
  const std::string before(64 * kSector, 'A');
  REQUIRE(write_at(file.get(), 0, as_bytes(before)).ok());
  const auto disk = take(RawDisk::open(take(file.duplicate()), Access::ReadWrite));
  auto device = take(virtio::Block::create(*disk, {}));
  const std::uint64_t features = device->traits().features | virtio::kCommonFeatures;

  // The guest has asked for a sector to be written from the last page of its memory.
  std::unique_ptr<virtio::test::DriverSide> driver;
  const Saved saved(*kvm, 64 * kMiB, [&](GuestMemory& memory) {
    driver = std::make_unique<virtio::test::DriverSide>(memory, 4 * kMiB, 16, features);
    const struct {
      std::uint32_t type = 1, reserved = 0;
      std::uint64_t sector = 0;
    } header;
    driver->submit({driver->object(header),
                    {kPattern + 64 * kMiB - kPageSize, kSector, false},
                    driver->writable(1)});
  });
  const auto index = take(read_index(saved.fd()));
  saved.damage(index.chunks.back());

  const MemoryRange range{0, saved.memory_bytes()};
  auto memory = take(GuestMemory::create(std::span(&range, 1)));
  virtio::test::FakeInterrupts interrupts;
  driver->move_to(*memory);
  device->activate({features, &interrupts});
  struct Only final : virtio::QueueSet {
    virtio::Queue* find(std::uint16_t index) override { return index == 0 ? queue.get() : nullptr; }
    std::unique_ptr<virtio::Queue> queue;
  } queues;
  queues.queue = driver->make_queue(interrupts);
  auto lazy = take(LazyMemory::start(*memory, saved.file(), index.chunks, [](const Error&) {}));
  std::thread worker([&] { device->serve(0, *queues.queue); });
  CHECK(lazy->wait_until_filled().error().reason() == "STATE_CHECKSUM");
  CHECK_FALSE(memory->read_le<std::uint64_t>(0));  // what is there is refused as well
  CHECK(memory->release(0, kPageSize).error().reason() == "MEMORY_LAYOUT");
  lazy.reset();  // lets go of who waits
  worker.join();
  device->quiesce(queues);
  CHECK_FALSE(memory->span(kPattern, kPageSize));
  std::string after(before.size(), '\0');
  REQUIRE(read_at(file.get(), 0, std::as_writable_bytes(std::span(after))).ok());
  CHECK((after == before));
  CHECK(queues.queue->in_flight() == 0);
  device->serve(0, *queues.queue);  // nor does it look at the ring again
  CHECK(queues.queue->broken());
}

TEST_CASE("an index that lies is refused before anything runs", "[vm][saved][kvm][lazy]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const Saved saved(*kvm, 4 * kMiB);
  const auto index = take(read_index(saved.fd()));
  const auto size = saved.size();
  const auto with = [&](const std::function<void(SavedIndex&)>& change) {
    auto other = index;
    change(other);
    std::string bytes(static_cast<std::size_t>(index.machine_offset), '\0');
    REQUIRE(pread(saved.fd(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    const Fd file(memfd_create("lie", MFD_CLOEXEC));
    FdSink sink(file.get());
    REQUIRE(sink.write(as_bytes(bytes)).ok());
    const auto machine =
        take(read_record_at(saved.fd(), index.machine_offset, RecordType::Machine));
    RecordWriter writer(sink, bytes.size());
    REQUIRE(writer.write(RecordType::Machine, as_bytes(machine)).ok());
    REQUIRE(write_index(writer, other).ok());
    REQUIRE(lseek(file.get(), 0, SEEK_SET) == 0);
    auto restored = Vm::restore_lazily(take(file.duplicate()), *kvm);
    return restored.ok() ? std::string("ok") : std::string(restored.error().reason());
  };
  CHECK(size > 4 * kMiB);
  CHECK(with([](auto&) {}) == "ok");
  CHECK(with([](auto& i) { i.chunks.back().address = Gpa{1} << 40; }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.chunks.back().address += 1; }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.chunks.back().pages = 0; }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.chunks.back().pages = 5000; }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.chunks.back().offset = ~0ull; }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.chunks.push_back(i.chunks.back()); }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.chunks.pop_back(); }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.machine_offset = 12; }) == "STATE_FORMAT");
  CHECK(with([](auto& i) { i.machine_offset = ~0ull; }) == "STATE_FORMAT");
}

}  // namespace reeve::core
