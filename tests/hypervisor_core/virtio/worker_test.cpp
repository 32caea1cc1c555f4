// Threads that serve a device, their kicks, events and orderly end.
#include "hypervisor_core/virtio/worker.h"

#include <condition_variable>
#include <mutex>

#include <catch2/catch.hpp>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/hypervisor_core/virtio/driver_side.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

/// Returns every chain; holds the latest one back until it is quiesced.
class Echo final : public Device {
 public:
  std::string_view name() const override { return "echo"; }
  Traits traits() const override {
    return {.device_id = 42, .queue_sizes = kSizes, .queues_per_worker = 1};
  }
  void serve(std::uint16_t index, Queue& queue) override {
    auto& held = held_[index];
    while (auto chain = queue.pop()) held = std::move(chain);
    queue.signal_used();
    note([&] { ++served; });
  }
  std::vector<EventSource> event_sources() override { return {{event.get(), 1, 7}}; }
  void on_event(std::uint32_t token, QueueSet& queues) override {
    note([&] {
      right_event = token == 7 && queues.find(1) != nullptr && queues.find(0) == nullptr;
    });
  }
  void quiesce(QueueSet& queues) override {
    for (std::uint16_t i = 0; i < 2; ++i)
      if (queues.find(i) != nullptr && held_[i]) {
        queues.find(i)->put_back(std::move(*held_[i]));
        held_[i].reset();
      }
  }
  template <class Change>
  void note(Change change) {
    std::scoped_lock lock(mutex);
    change();
    changed.notify_all();
  }
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), condition);
  }

  static constexpr std::array<std::uint16_t, 2> kSizes{16, 16};
  std::mutex mutex;
  std::condition_variable changed;
  int served = 0;
  bool right_event = false;
  Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

 private:
  std::array<std::optional<Chain>, 2> held_;
};

void poke(int fd) {
  const std::uint64_t one = 1;
  REQUIRE(::write(fd, &one, sizeof one) == sizeof one);
}

}  // namespace

TEST_CASE("workers serve kicks and events and give their queues back", "[virtio]") {
  const auto memory = make_memory();
  FakeInterrupts interrupts;
  DriverSide first(*memory, 0x10000, 16, kCommonFeatures, 0);
  DriverSide second(*memory, 0x100000, 16, kCommonFeatures, 1);
  const Fd kick0(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const Fd kick1(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Echo device;

  std::vector<QueueSlot> slots;
  slots.push_back({first.make_queue(interrupts), kick0.get()});
  slots.push_back({second.make_queue(interrupts), kick1.get()});
  auto workers = Workers::start(device, std::move(slots), {.name = "echo"});
  REQUIRE(workers.ok());
  REQUIRE(device.wait([&] { return device.served == 2; }));  // once each, unasked

  first.submit({first.readable("x")});
  first.submit({first.readable("y")});
  poke(kick0.get());
  REQUIRE(device.wait([&] { return device.served == 3; }));
  poke(device.event.get());
  REQUIRE(device.wait([&] { return device.right_event; }));

  const auto returned = workers.value()->stop();
  REQUIRE(returned.size() == 2);
  CHECK(returned[0].queue->in_flight() == 0);
  CHECK(returned[0].queue->position() == QueuePosition{1, 1});  // "y" waits for the next start
  CHECK(workers.value()->stop().empty());
}

TEST_CASE("workers do not start when their threads cannot be prepared", "[virtio]") {
  const auto memory = make_memory();
  FakeInterrupts interrupts;
  DriverSide driver(*memory, 0x10000);
  const Fd kick(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Echo device;
  std::vector<QueueSlot> slots;
  slots.push_back({driver.make_queue(interrupts), kick.get()});
  const auto workers =
      Workers::start(device, std::move(slots), {.prepare_thread = [] {
                       return Status(Error{Code::Internal, "NO_FILTER", "no filter"});
                     }});
  REQUIRE_FALSE(workers.ok());
  CHECK(workers.error().reason() == "NO_FILTER");
}
