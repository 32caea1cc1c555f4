// hypervisor_core/virtio/devices/net.h - virtio network device.
// Source: OASIS virtio 1.2, section 5.1. Up to 8 queue pairs, each with a worker, and a control
// queue.
//
// Frames are read from the backend straight into the guest's buffers, as many as the last frames
// took (mergeable buffers); what is longer is collected and copied. A frame that finds no buffers
// waits, one per pair; then the backend is left alone until the guest gives more.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "hypervisor_core/net/backend.h"
#include "hypervisor_core/virtio/device.h"

namespace reeve::core::virtio {

/// Heard on a worker thread; must not block.
class NetEvents {
 public:
  virtual ~NetEvents() = default;
  /// The other side (passt) is gone; the guest sees its link go down.
  virtual void backend_lost() {}
};

struct NetOptions {
  std::array<std::uint8_t, 6> mac{};
  std::uint16_t mtu = 0;  ///< 0: not told
  NetEvents* events = nullptr;
};

class Net final : public Device {
 public:
  static constexpr std::uint16_t kQueueSize = 256;
  static constexpr std::uint16_t kMaxPairs = 8;

  /// `backend` outlives the device. InvalidArgument/NIC_PAIRS, NIC_MAC (multicast or zero).
  static Result<std::unique_ptr<Net>> create(NetBackend& backend, const NetOptions& options);
  ~Net() override;

  std::string_view name() const override { return "virtio-net"; }
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

  /// Any thread.
  void set_link(bool up);

  struct Counters {
    std::atomic<std::uint64_t> received_frames{0}, received_bytes{0};
    std::atomic<std::uint64_t> sent_frames{0}, sent_bytes{0};
    std::atomic<std::uint64_t> dropped_in{0}, dropped_out{0}, bad_chains{0};
  };
  const Counters& counters() const { return counters_; }

 private:
  class Pair;
  Net(NetBackend& backend, const NetOptions& options);

  bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }
  void control(Queue& queue);
  bool obey(Chain& chain);
  bool apply_offloads(std::uint64_t guest_features);
  void lose_backend();
  /// Virtio 1.2, 5.1.2: behind the pairs that the driver knows of.
  std::uint16_t control_queue() const;

  NetBackend& backend_;
  const NetOptions options_;
  std::vector<std::uint16_t> queue_sizes_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::atomic<std::uint64_t> features_{0};
  std::atomic<std::uint64_t> guest_offloads_{0};  ///< feature bits in force, for saving
  std::atomic<std::uint16_t> used_pairs_{1};
  std::atomic<bool> link_up_{true};
  std::atomic<bool> lost_{false};
  Mutex mutex_;
  Interrupts* interrupts_ REEVE_GUARDED_BY(mutex_) = nullptr;
  Counters counters_;
};

}  // namespace reeve::core::virtio
