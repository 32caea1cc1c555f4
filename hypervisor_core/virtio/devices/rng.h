// hypervisor_core/virtio/devices/rng.h - virtio entropy device.
// Source: OASIS virtio 1.2, section 5.4. One request queue, no config space, no feature bits, no
// state.
#pragma once

#include <array>
#include <atomic>

#include "base/random.h"
#include "hypervisor_core/virtio/device.h"

namespace reeve::core::virtio {

class Rng final : public Device {
 public:
  /// Bytes given per request. Overlapping descriptors can claim far more than guest RAM, so the
  /// guest never chooses how much the host makes.
  static constexpr std::size_t kMaxRequest = 4096;

  /// `source` is safe to call from the worker's thread and outlives the device.
  explicit Rng(Random& source) : source_(source) {}

  std::string_view name() const override { return "virtio-rng"; }
  Traits traits() const override { return {.device_id = kEntropyDevice, .queue_sizes = kQueues}; }
  void serve(std::uint16_t index, Queue& queue) override;

  struct Counters {
    std::atomic<std::uint64_t> bytes{0}, bad_chains{0};
  };
  const Counters& counters() const { return counters_; }

 private:
  static constexpr std::array<std::uint16_t, 1> kQueues{64};

  Status answer(Chain& chain);

  Random& source_;
  Counters counters_;
};

}  // namespace reeve::core::virtio
