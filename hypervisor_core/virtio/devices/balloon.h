// hypervisor_core/virtio/devices/balloon.h - virtio memory balloon.
// Source: OASIS virtio 1.2, section 5.5. Inflate and deflate (also when the guest runs out of
// memory), memory statistics on request, and free page reporting. One worker.
//
// Pages given up are punched out of guest memory and read as zeroes from then on. The guest may
// name any page of its own RAM and nothing else; it only hurts itself.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "hypervisor_core/virtio/device.h"
#include "hypervisor_core/virtio/wake_fd.h"

namespace reeve::core::virtio {

/// What the guest last said about its memory, in bytes and counts; absent: it did not say.
struct BalloonStatistics {
  std::optional<std::uint64_t> free_bytes{}, total_bytes{}, available_bytes{}, cache_bytes{};
  std::optional<std::uint64_t> swapped_in_bytes{}, swapped_out_bytes{};
  std::optional<std::uint64_t> major_faults{}, minor_faults{};
  std::uint64_t reports = 0;  ///< how many times it has answered
};

class Balloon final : public Device {
 public:
  /// `memory` outlives the device. Errors of eventfd.
  static Result<std::unique_ptr<Balloon>> create(GuestMemory& memory);

  std::string_view name() const override { return "virtio-balloon"; }
  Traits traits() const override;
  void activate(const Activation& activation) override;
  void serve(std::uint16_t index, Queue& queue) override;
  std::vector<EventSource> event_sources() override { return {{.fd = wake_.fd()}}; }
  void on_event(std::uint32_t token, QueueSet& queues) override;
  void quiesce(QueueSet& queues) override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) override;
  void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override;
  void reset() override;
  std::string save_state() const override;
  Status load_state(std::string_view state) override;

  /// Any thread: asks the guest to give up so much. InvalidArgument/BALLOON_TARGET when it has
  /// less.
  Status set_target(std::uint64_t bytes);
  std::uint64_t target_bytes() const { return std::uint64_t{target_pages_} << 12; }
  /// What the guest says it has given up.
  std::uint64_t actual_bytes() const { return std::uint64_t{actual_pages_} << 12; }
  /// Any thread: asks the guest for new statistics; they show up in statistics() when it answers.
  void request_statistics();
  BalloonStatistics statistics() const;

  struct Counters {
    std::atomic<std::uint64_t> inflated_pages{0}, deflated_pages{0}, reported_bytes{0};
    std::atomic<std::uint64_t> bad_pages{0}, bad_chains{0};
  };
  const Counters& counters() const { return counters_; }

 private:
  static constexpr std::array<std::uint16_t, 4> kQueues{128, 128, 16, 32};

  Balloon(GuestMemory& memory, WakeFd wake) : memory_(memory), wake_(std::move(wake)) {}
  bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }
  void inflate(Queue& queue);
  void deflate(Queue& queue);
  void take_report(Queue& queue);
  void take_statistics(Queue& queue);
  void parse_statistics(Chain& chain);
  void give_up(std::uint64_t first_page, std::uint64_t count);

  GuestMemory& memory_;
  WakeFd wake_;
  std::atomic<std::uint64_t> features_{0};
  std::atomic<std::uint32_t> target_pages_{0};
  std::atomic<std::uint32_t> actual_pages_{0};
  std::atomic<bool> statistics_wanted_{false};
  std::optional<Chain> held_;  ///< the statistics buffer, which goes back when new ones are wanted
  mutable Mutex mutex_;
  Interrupts* interrupts_ REEVE_GUARDED_BY(mutex_) = nullptr;
  BalloonStatistics statistics_ REEVE_GUARDED_BY(mutex_);
  Counters counters_;
};

}  // namespace reeve::core::virtio
