// hypervisor_core/virtio/devices/block.h - virtio block device.
// Source: OASIS virtio 1.2, section 5.2. Up to 16 request queues, each with a worker and an
// AsyncDisk of its own. Reads and writes go straight between guest memory and the disk.
//
// A full host disk does not fail the guest's writes: they are kept and tried again every second,
// and BlockEvents hears of it, so that the VM can be paused until there is room. The same goes for
// I/O errors where the machine asks for it. Kept requests survive pause, save and restore.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "hypervisor_core/block/async_disk.h"
#include "hypervisor_core/virtio/device.h"
#include "hypervisor_core/virtio/rate_limit.h"
#include "hypervisor_core/virtio/timer_fd.h"

namespace reeve::core::virtio {

/// Heard on worker threads; must not block.
class BlockEvents {
 public:
  virtual ~BlockEvents() = default;
  /// The first request starts to wait, or the last one has been done.
  virtual void waiting_changed() {}
};

struct BlockOptions {
  std::string serial{};  ///< at most 20 bytes, seen by the guest
  std::uint16_t queues = 1;
  RateLimit limit{};
  enum class OnError : std::uint8_t { Report, Wait } on_error = OnError::Report;
  BlockEvents* events = nullptr;  ///< outlives the device; may be null
  /// Runs first on I/O threads other than the workers.
  std::function<Status()> prepare_thread{};
  enum class Io : std::uint8_t { Auto, Threads, Inline } io = Io::Auto;
};

class Block final : public Device {
 public:
  static constexpr std::uint16_t kQueueSize = 256;
  static constexpr std::uint16_t kMaxQueues = 16;

  /// `disk` outlives the device. InvalidArgument/BLOCK_OPTIONS; errors of eventfd and timerfd.
  static Result<std::unique_ptr<Block>> create(Disk& disk, const BlockOptions& options);
  ~Block() override;

  std::string_view name() const override { return "virtio-blk"; }
  Traits traits() const override;
  void activate(const Activation& activation) override;
  void serve(std::uint16_t index, Queue& queue) override;
  std::vector<EventSource> event_sources() override;
  void on_event(std::uint32_t token, QueueSet& queues) override;
  void quiesce(QueueSet& queues) override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) override;
  void reset() override;
  std::string save_state() const override;
  Status load_state(std::string_view state) override;

  /// Any thread. The disk is already larger; tells the guest.
  void announce_size();
  void set_limit(RateLimit limit) { limiter_.set(limit); }
  /// Requests that wait for the host's disk, and whether for room or for its errors to end. Any
  /// thread.
  std::uint32_t waiting() const { return waiting_; }
  bool waits_for_errors() const { return waits_for_errors_; }

  struct Counters {
    std::atomic<std::uint64_t> reads{0}, writes{0}, flushes{0}, discards{0};
    std::atomic<std::uint64_t> read_bytes{0}, written_bytes{0};
    std::atomic<std::uint64_t> errors{0}, bad_chains{0}, throttled{0}, waited{0};
  };
  const Counters& counters() const { return counters_; }
  std::string_view io_kind() const;

 private:
  struct Pending;
  class Lane;  // one queue's share of the work, touched by its worker only

  Block(Disk& disk, const BlockOptions& options);

  Disk& disk_;
  const BlockOptions options_;
  std::vector<std::uint16_t> queue_sizes_;
  RateLimiter limiter_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<std::uint64_t> features_{0};
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<bool> waits_for_errors_{false};
  Mutex mutex_;
  Interrupts* interrupts_ REEVE_GUARDED_BY(mutex_) = nullptr;
  Counters counters_;
};

}  // namespace reeve::core::virtio
