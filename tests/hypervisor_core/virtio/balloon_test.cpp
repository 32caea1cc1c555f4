// The balloon: pages really leave the host, and hostile page numbers do nothing.
#include "hypervisor_core/virtio/devices/balloon.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "base/bytes.h"
#include "tests/hypervisor_core/virtio/driver_side.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

constexpr std::uint64_t kReporting = 1u << 5;
constexpr std::uint64_t kStatistics = 1u << 1;

struct Machine final : QueueSet {
  std::unique_ptr<GuestMemory> memory = make_memory(8u << 20);
  std::unique_ptr<Balloon> balloon = Balloon::create(*memory).value();
  FakeInterrupts interrupts{};
  std::vector<DriverSide> drivers{};
  std::vector<std::unique_ptr<Queue>> queues{};

  explicit Machine(std::uint64_t features = kReporting | kStatistics) {
    for (std::uint16_t i = 0; i < 4; ++i) {
      drivers.emplace_back(*memory, 0x1000 + 0x100000u * i, 16, kCommonFeatures, i);
      queues.push_back(drivers[i].make_queue(interrupts));
    }
    balloon->activate({features | kCommonFeatures, &interrupts});
  }
  ~Machine() override { balloon->quiesce(*this); }
  Queue* find(std::uint16_t index) override { return queues[index].get(); }
  void serve(std::uint16_t index) { balloon->serve(index, *queues[index]); }
  void pages(std::uint16_t queue, const std::vector<std::uint32_t>& numbers) {
    drivers[queue].submit({drivers[queue].readable(std::as_bytes(std::span(numbers)))});
    serve(queue);
  }
  std::uint64_t used_by_host() {
    struct stat st {};
    REQUIRE(::fstat(memory->fd(), &st) == 0);
    return static_cast<std::uint64_t>(st.st_blocks) * 512;
  }
  void statistic(std::uint16_t tag, std::uint64_t value) {
    std::string bytes(10, '\0');
    store_le(std::as_writable_bytes(std::span(bytes)), tag);
    store_le(std::as_writable_bytes(std::span(bytes)).subspan(2), value);
    drivers[2].submit({drivers[2].readable(bytes)});
    serve(2);
  }
};

}  // namespace

TEST_CASE("inflating gives pages back to the host, deflating brings zeroes", "[virtio]") {
  Machine machine;
  REQUIRE(machine.memory->fill(0x600000, 0x100000, std::byte{7}));
  const auto before = machine.used_by_host();
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t page = 0x6ff; page >= 0x680; --page) numbers.push_back(page);  // downwards
  for (std::uint32_t page = 0x600; page < 0x680; ++page) numbers.push_back(page);
  machine.pages(0, numbers);
  CHECK(machine.used_by_host() <= before - 0x100000 + 0x4000);
  CHECK(machine.memory->read_le<std::uint64_t>(0x612345) == 0u);
  CHECK(machine.balloon->counters().inflated_pages == 256);
  machine.pages(1, numbers);
  CHECK(machine.balloon->counters().deflated_pages == 256);
}

TEST_CASE("pages outside RAM are counted and nothing else", "[virtio]") {
  Machine machine;
  machine.pages(0, {0xfee00, ~0u, 0x7ff, 0x800, 0x801});
  CHECK(machine.balloon->counters().bad_pages == 4);
  CHECK(machine.balloon->counters().inflated_pages == 1);
  machine.drivers[0].submit({machine.drivers[0].writable(64)});
  machine.serve(0);
  CHECK(machine.balloon->counters().bad_chains == 1);
}

TEST_CASE("target and actual size travel through the configuration", "[virtio]") {
  Machine machine;
  REQUIRE(machine.balloon->set_target(4u << 20).ok());
  CHECK(machine.interrupts.config == 1);
  CHECK(machine.balloon->set_target(9u << 20).error().reason() == "BALLOON_TARGET");
  std::array<std::byte, 8> config{};
  machine.balloon->read_config(0, config);
  CHECK(load_le<std::uint32_t>(config) == 1024);
  std::array<std::byte, 4> actual{};
  store_le(actual, std::uint32_t{512});
  machine.balloon->write_config(4, actual);
  machine.balloon->write_config(0, actual);  // the target is the host's
  CHECK(machine.balloon->actual_bytes() == 2u << 20);
  CHECK(machine.balloon->target_bytes() == 4u << 20);

  const auto state = machine.balloon->save_state();
  Machine other;
  REQUIRE(other.balloon->load_state(state).ok());
  CHECK(other.balloon->actual_bytes() == 2u << 20);
  CHECK(other.balloon->load_state("bad").error().reason() == "DEVICE_STATE");
  machine.balloon->reset();
  CHECK(machine.balloon->actual_bytes() == 0);
}

TEST_CASE("reported free pages leave the host, whichever queue the driver reports on", "[virtio]") {
  const bool statistics = GENERATE(true, false);
  Machine machine(statistics ? kReporting | kStatistics : kReporting);
  const std::uint16_t queue = statistics ? 3 : 2;
  REQUIRE(machine.memory->fill(0x600000, 0x100000, std::byte{7}));
  const auto before = machine.used_by_host();
  machine.drivers[queue].submit({{0x600000, 0x100000, true}});
  machine.drivers[queue].submit({{0x500010, 0x1000, true}});  // no whole page in it
  machine.serve(queue);
  CHECK(machine.balloon->counters().reported_bytes == 0x100000);
  CHECK(machine.used_by_host() <= before - 0x100000 + 0x4000);
  CHECK(machine.drivers[queue].take_used()->length == 0);
}

TEST_CASE("statistics are held until new ones are asked for", "[virtio]") {
  Machine machine;
  machine.statistic(4, 123456);
  CHECK(machine.balloon->statistics().free_bytes == 123456u);
  CHECK(machine.drivers[2].used_index() == 0);
  machine.balloon->request_statistics();
  machine.balloon->on_event(0, machine);
  CHECK(machine.drivers[2].used_index() == 1);
  machine.statistic(6, 99);
  CHECK(machine.balloon->statistics().available_bytes == 99u);
  CHECK_FALSE(machine.balloon->statistics().free_bytes);
  CHECK(machine.balloon->statistics().reports == 2);
  machine.balloon->quiesce(machine);
  CHECK(machine.queues[2]->in_flight() == 0);
  CHECK(machine.queues[2]->position() == QueuePosition{1, 1});
}
