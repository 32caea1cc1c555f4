// tests/hypervisor_core/virtio/device_bench.h - a device with its queues and drivers on one thread:
// no workers, so that tests decide what happens when.
#pragma once

#include <memory>
#include <vector>

#include "hypervisor_core/virtio/device.h"
#include "tests/hypervisor_core/virtio/driver_side.h"

namespace reeve::core::virtio::test {

class DeviceBench final : public QueueSet {
 public:
  /// Activates the device with all its features except `without`.
  explicit DeviceBench(Device& device, std::uint64_t without = 0, std::uint64_t room = 1u << 20)
      : memory(make_memory(device.traits().queue_sizes.size() * room + room)), device_(device) {
    const Traits traits = device.traits();
    features = (traits.features | kCommonFeatures) & ~without;
    for (std::uint16_t i = 0; i < traits.queue_sizes.size(); ++i)
      drivers.emplace_back(*memory, room * i + 0x1000, traits.queue_sizes[i], features, i);
    device.activate({features, &interrupts});
    start();
  }
  ~DeviceBench() override { device_.quiesce(*this); }

  Queue* find(std::uint16_t index) override {
    return index < queues.size() ? queues[index].get() : nullptr;
  }
  void serve(std::uint16_t index) { device_.serve(index, *queues[index]); }
  /// As a worker would be stopped and started again, from saved positions.
  void restart() {
    device_.quiesce(*this);
    std::vector<QueuePosition> positions;
    for (auto& queue : queues) positions.push_back(queue->position());
    queues.clear();
    start(positions);
  }

  std::unique_ptr<GuestMemory> memory;
  FakeInterrupts interrupts{};
  std::uint64_t features = 0;
  std::vector<DriverSide> drivers{};
  std::vector<std::unique_ptr<Queue>> queues{};

 private:
  void start(const std::vector<QueuePosition>& positions = {}) {
    for (std::size_t i = 0; i < drivers.size(); ++i)
      queues.push_back(
          drivers[i].make_queue(interrupts, i < positions.size() ? positions[i] : QueuePosition{}));
  }
  Device& device_;
};

}  // namespace reeve::core::virtio::test
