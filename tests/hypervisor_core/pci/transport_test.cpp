#include <optional>
#include <thread>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/sim_loop.h"
#include "hypervisor_core/chipset/exit_ports.h"
#include "hypervisor_core/memory/layout.h"
#include "hypervisor_core/pci/root.h"
#include "hypervisor_core/virtio/pci_layout.h"
#include "hypervisor_core/virtio/transport_pci.h"
#include "reeve/core/v1/pci_state.pb.h"
#include "tests/hypervisor_core/support/fake_board.h"
#include "tests/hypervisor_core/support/fake_partition.h"
#include "tests/hypervisor_core/virtio/driver_side.h"

namespace reeve::core::virtio {
namespace {

using namespace pci_layout;
using core::test::read_number;
using core::test::write_number;

constexpr Gpa kRegisters = kPciWindow32.base;
constexpr std::uint32_t kMessage = 0x41, kConfigMessage = 0x42;

/// Fills every chain with a letter; two queues and a byte of configuration.
class Letters final : public Device {
 public:
  std::string_view name() const override { return "letters"; }
  Traits traits() const override {
    return {.device_id = kEntropyDevice, .features = 1, .queue_sizes = kQueues, .config_size = 4};
  }
  void activate(const Activation& activation) override { active = activation; }
  void reset() override {
    active.reset();
    ++resets;
  }
  void serve(std::uint16_t, Queue& queue) override {
    while (auto chain = queue.pop()) {
      const std::string text(chain->writable_bytes(), 'x');
      (void)chain->write(std::as_bytes(std::span(text)));
      chain->finish();
      ++served;
    }
    queue.signal_used();
  }
  void read_config(std::uint32_t offset, std::span<std::byte> out) override {
    const std::array<std::byte, 4> config{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    copy_config(config, offset, out);
  }
  std::optional<Activation> active;
  int resets = 0;
  std::atomic<int> served{0};

 private:
  static constexpr std::array<std::uint16_t, 2> kQueues{16, 16};
};

/// A driver that reaches the device through the bus, as a guest does.
struct Bench {
  SimWorld world{1};
  SimLoop control{world};
  std::unique_ptr<GuestMemory> memory = test::make_memory();
  core::test::FakePartition partition;
  core::test::FakeEvents events;
  ResetControl reset_control{events};
  Bus mmio;
  Letters device;
  std::unique_ptr<TransportPci> transport;
  pci::Root root{mmio, reset_control};

  Bench() {
    auto made = TransportPci::create(device, {*memory, partition, control});
    REQUIRE(made.ok());
    transport = std::move(made).value();
    REQUIRE(root.add(*transport).ok());
    write_number(root.ecam(), (1 << 15) + pci::kCommand, 6, 2);
  }
  std::uint64_t get(std::uint64_t at, std::size_t size) {
    std::byte bytes[8]{};
    mmio.read(kRegisters + at, std::span(bytes, size));
    return number_of(std::span<const std::byte>(bytes, size));
  }
  void set(std::uint64_t at, std::uint64_t value, std::size_t size) {
    std::byte bytes[8]{};
    put_number(std::span(bytes, size), value);
    mmio.write(kRegisters + at, std::span<const std::byte>(bytes, size));
  }
  void settle() {
    while (world.step()) {
    }
  }
  void enable_msix() {
    const Gpa table = read_number(root.ecam(), (1 << 15) + pci::kBar0 + 4, 4);
    for (std::uint32_t i = 0; i < 2; ++i)
      for (const auto& [at, value] : {std::pair<std::uint64_t, std::uint64_t>{0, 0xfee00000},
                                      {8, i == 0 ? kMessage : kConfigMessage},
                                      {12, 0}}) {
        std::byte bytes[4];
        put_number(bytes, value);
        mmio.write(table + 16 * i + at, bytes);
      }
    const auto capability = find_capability(0x11);
    write_number(root.ecam(), (1 << 15) + capability + 2, 0x8000, 2);
  }
  std::uint64_t find_capability(std::uint8_t id, int type = -1) {
    std::uint64_t at = read_number(root.ecam(), (1 << 15) + pci::kCapabilities);
    while (at != 0) {
      if (read_number(root.ecam(), (1 << 15) + at) == id &&
          (type < 0 || read_number(root.ecam(), (1 << 15) + at + 3) == static_cast<unsigned>(type)))
        return at;
      at = read_number(root.ecam(), (1 << 15) + at + 1);
    }
    FAIL("no such capability");
    return 0;
  }
  void negotiate(std::uint64_t features = kCommonFeatures) {
    set(kDeviceStatus, 1, 1);
    set(kDeviceStatus, 3, 1);
    for (std::uint32_t i = 0; i < 2; ++i) {
      set(kDriverFeatureSelect, i, 4);
      set(kDriverFeature, features >> (32 * i) & 0xffffffff, 4);
    }
    set(kDeviceStatus, 0xb, 1);
  }
  void set_queue(std::uint16_t index, const QueueConfig& ring) {
    set(kQueueSelect, index, 2);
    set(kQueueSize, ring.size, 2);
    set(kQueueVector, 0, 2);
    set(kQueueDescriptors, ring.descriptors, 8);
    set(kQueueAvailable, ring.available & 0xffffffff, 4);
    set(kQueueAvailable + 4, ring.available >> 32, 4);
    set(kQueueUsed, ring.used, 8);
    set(kQueueEnable, 1, 2);
  }
  void start(const QueueConfig& ring) {
    enable_msix();
    negotiate();
    set(kConfigVector, 1, 2);
    set_queue(0, ring);
    set(kDeviceStatus, 0xf, 1);
    settle();
  }
  /// Waits until the worker has done something.
  template <class Condition>
  bool eventually(Condition condition) {
    for (int i = 0; i < 5000 && !condition(); ++i) poll(nullptr, 0, 1);
    return condition();
  }
};

}  // namespace

TEST_CASE("a driver finds its way from configuration space to served requests", "[transport]") {
  Bench bench;
  CHECK(read_number(bench.root.ecam(), 1 << 15, 4) == 0x10441af4);
  CHECK(read_number(bench.root.ecam(), (1 << 15) + bench.find_capability(9, 2) + 8, 4) == kNotify);
  CHECK(bench.get(kQueueCount, 2) == 2);
  CHECK(bench.get(kDevice, 4) == 0x04030201);
  bench.set(kDeviceFeatureSelect, 1, 4);
  CHECK(bench.get(kDeviceFeature, 4) == 1);

  test::DriverSide driver(*bench.memory, 0x10000);
  bench.start(driver.config());
  CHECK(bench.get(kDeviceStatus, 1) == 0xf);
  REQUIRE(bench.device.active.has_value());
  CHECK(bench.device.active->features == kCommonFeatures);

  driver.submit({driver.writable(32)});
  bench.set(kNotify, 0, 2);
  CHECK(bench.eventually([&] { return bench.partition.messages(kMessage) == 1; }));
  CHECK(bench.device.served == 1);
  CHECK(bench.get(kIsr, 1) == 1);
  CHECK(bench.get(kIsr, 1) == 0);
}

TEST_CASE("registers written after DRIVER_OK change nothing (CVE-2026-5747)", "[transport]") {
  Bench bench;
  test::DriverSide driver(*bench.memory, 0x10000);
  bench.start(driver.config());
  bench.set(kQueueSelect, 0, 2);
  const auto before = bench.get(kQueueDescriptors, 8);
  bench.set(kQueueDescriptors, 0xdead0000, 8);
  bench.set(kQueueSize, 8, 2);
  bench.set(kQueueVector, 1, 2);
  bench.set(kConfigVector, 0, 2);
  bench.set(kDriverFeatureSelect, 0, 4);
  bench.set(kDriverFeature, 0, 4);
  CHECK(bench.get(kQueueDescriptors, 8) == before);
  CHECK(bench.get(kQueueSize, 2) == driver.config().size);
  CHECK(bench.get(kQueueVector, 2) == 0);
  CHECK(bench.get(kConfigVector, 2) == 1);
  bench.set(kQueueSelect, 1, 2);
  bench.set(kQueueEnable, 1, 2);
  CHECK(bench.get(kQueueEnable, 2) == 0);
  driver.submit({driver.writable(32)});
  bench.set(kNotify, 0, 2);
  CHECK(bench.eventually([&] { return bench.partition.messages(kMessage) == 1; }));
}

TEST_CASE("features that were not offered, or no VERSION_1, leave FEATURES_OK clear",
          "[transport]") {
  for (const std::uint64_t features :
       {std::uint64_t{0}, kCommonFeatures | 1u << 7, kRingIndirect}) {
    Bench bench;
    bench.negotiate(features);
    CHECK(bench.get(kDeviceStatus, 1) == 3);
    bench.set(kDeviceStatus, 0xf, 1);
    bench.settle();
    CHECK((bench.get(kDeviceStatus, 1) & kStatusDriverOk) == 0);
    CHECK_FALSE(bench.device.active.has_value());
  }
}

TEST_CASE("rings outside RAM, misaligned or empty make the device ask for a reset", "[transport]") {
  for (const auto& ring :
       {QueueConfig{.size = 16, .descriptors = 0xfee00000, .available = 0x8000, .used = 0xa000},
        QueueConfig{.size = 16, .descriptors = 0x10001, .available = 0x8000, .used = 0xa000},
        QueueConfig{.size = 16, .descriptors = ~0ull - 15, .available = 0, .used = 0},
        QueueConfig{.size = 0, .descriptors = 0x10000, .available = 0x8000, .used = 0xa000},
        QueueConfig{.size = 3, .descriptors = 0x10000, .available = 0x8000, .used = 0xa000}}) {
    Bench bench;
    bench.start(ring);
    CHECK((bench.get(kDeviceStatus, 1) & kStatusNeedsReset) != 0);
    CHECK(bench.partition.messages(kConfigMessage) >= 1);
    CHECK_FALSE(bench.device.active.has_value());
  }
}

TEST_CASE("a reset is over when the status reads zero, and the device starts again",
          "[transport]") {
  Bench bench;
  test::DriverSide driver(*bench.memory, 0x10000);
  bench.start(driver.config());
  bench.set(kDeviceStatus, 0, 1);
  CHECK(bench.get(kDeviceStatus, 1) != 0);
  bench.set(kDeviceStatus, 0xf, 1);  // ignored while the reset is under way
  bench.settle();
  CHECK(bench.get(kDeviceStatus, 1) == 0);
  CHECK(bench.device.resets == 1);
  bench.set(kQueueSelect, 0, 2);
  CHECK(bench.get(kQueueEnable, 2) == 0);
  CHECK(bench.get(kQueueVector, 2) == kNoVector);

  test::DriverSide again(*bench.memory, 0x80000);
  bench.start(again.config());
  again.submit({again.writable(8)});
  bench.set(kNotify, 0, 2);
  CHECK(bench.eventually([&] { return bench.device.served == 1; }));
}

TEST_CASE("a ring made larger after a reset is served to its end, QEMU work item 3882",
          "[transport]") {
  Bench bench;
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{2, 16, 4, 16}) {
    CAPTURE(size);
    const int before = bench.device.served;
    test::DriverSide driver(*bench.memory, 0x10000, size);
    bench.start(driver.config());
    for (std::uint16_t i = 0; i < size; ++i) driver.submit({driver.writable(8)});
    bench.set(0x3000, 0, 2);
    CHECK(bench.eventually([&] { return bench.device.served == before + size; }));
    bench.set(kDeviceStatus, 0, 1);
    bench.settle();
    driver.reuse_room();
    REQUIRE(bench.memory->fill(0x10000, 0x20000, std::byte{0}));
  }
}

TEST_CASE("doorbells follow the BAR", "[transport]") {
  Bench bench;
  bench.partition.has_doorbells = true;
  write_number(bench.root.ecam(), (1 << 15) + pci::kCommand, 0, 2);
  write_number(bench.root.ecam(), (1 << 15) + pci::kCommand, 2, 2);
  CHECK(bench.partition.bells.count(kRegisters + kNotify) == 1);
  CHECK(bench.partition.bells.count(kRegisters + kNotify + 4) == 1);
  write_number(bench.root.ecam(), (1 << 15) + pci::kBar0, 0xd0000000, 4);
  CHECK(bench.partition.bells.count(0xd0000000 + kNotify) == 1);
  CHECK(bench.partition.bells.size() == 2);
  write_number(bench.root.ecam(), (1 << 15) + pci::kCommand, 0, 2);
  CHECK(bench.partition.bells.empty());
}

TEST_CASE("registers can be reached through the configuration window", "[transport]") {
  Bench bench;
  const auto window = (1 << 15) + bench.find_capability(9, kWindowType);
  write_number(bench.root.ecam(), window + kWindowOffset, kDevice, 4);
  write_number(bench.root.ecam(), window + kWindowLength, 4, 4);
  CHECK(read_number(bench.root.ecam(), window + kWindowBytes, 4) == 0x04030201);
  write_number(bench.root.ecam(), window + kWindowOffset, kDeviceStatus, 4);
  write_number(bench.root.ecam(), window + kWindowLength, 1, 4);
  write_number(bench.root.ecam(), window + kWindowBytes, 1, 1);
  CHECK(bench.get(kDeviceStatus, 1) == 1);
  write_number(bench.root.ecam(), window + kWindowOffset, 0xfffffff0, 4);
  (void)read_number(bench.root.ecam(), window + kWindowBytes, 1);
}

TEST_CASE("a device moves with its queues and goes on where it was", "[transport]") {
  Bench first;
  test::DriverSide driver(*first.memory, 0x10000);
  first.start(driver.config());
  driver.submit({driver.writable(8)});
  first.set(kNotify, 0, 2);
  REQUIRE(first.eventually([&] { return first.device.served == 1; }));
  first.transport->stop_workers();
  v1::VirtioPciState state;
  first.transport->save(state);
  CHECK(state.queues(0).next_available() == 1);

  Bench second;
  for (Gpa at = 0; at < first.memory->size_bytes(); at += kPageSize)
    REQUIRE(second.memory->write(at, *first.memory->span(at, kPageSize)));
  second.enable_msix();
  const auto loaded = second.transport->load(state);
  if (!loaded.ok()) FAIL(loaded.error().message());
  driver.move_to(*second.memory);
  driver.set_used_event(1);
  REQUIRE(second.transport->start_workers().ok());
  driver.submit({driver.writable(8)});
  second.set(kNotify, 0, 2);
  CHECK(second.eventually([&] { return second.device.served == 1; }));
  CHECK(second.eventually([&] { return second.partition.messages(kMessage) >= 1; }));

  state.set_device("other");
  CHECK(Bench().transport->load(state).error().reason() == "DEVICE_STATE");
  state.set_device("letters");
  state.set_driver_features(~0ull);
  CHECK(Bench().transport->load(state).error().reason() == "DEVICE_STATE");
  state.clear_queues();
  CHECK(Bench().transport->load(state).error().reason() == "DEVICE_STATE");
}

TEST_CASE("a driver that misbehaved can be saved, and goes on as it was", "[transport]") {
  Bench bench;
  SECTION("features that were not offered, not agreed on") {
    bench.set(kDeviceStatus, 3, 1);
    bench.set(kDriverFeature, 0xffffffff, 4);
  }
  SECTION("rings outside of RAM") {
    bench.negotiate();
    bench.set_queue(0, {.size = 16, .descriptors = Gpa{1} << 50, .available = 0, .used = 0});
    bench.set(kDeviceStatus, 0xf, 1);
    bench.settle();
    CHECK((bench.get(kDeviceStatus, 1) & 0x40) != 0);
  }
  const auto status = bench.get(kDeviceStatus, 1);
  v1::VirtioPciState state;
  bench.transport->save(state);
  Bench other;
  REQUIRE(other.transport->load(state).ok());
  CHECK(other.transport->start_workers().ok());
  CHECK(other.get(kDeviceStatus, 1) == status);
  CHECK_FALSE(other.device.active);
}

TEST_CASE("random register accesses harm nothing", "[transport]") {
  SeededRandom random(7);
  Bench bench;
  for (int i = 0; i < 20000; ++i) {
    const std::size_t size = std::size_t{1} << random.below(4);
    const auto at =
        random.below(5) != 0 ? random.below(64) : random.below(TransportPci::kRegisterBar - 8);
    if (random.below(2) == 0)
      bench.set(at, random.below(8) != 0 ? random.below(16) : random.below(~0ull), size);
    else
      (void)bench.get(at, size);
    if (random.below(64) == 0) bench.settle();
  }
  bench.settle();
}

}  // namespace reeve::core::virtio
