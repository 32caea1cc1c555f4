// hypervisor_core/virtio/queue.h - the device side of one split virtqueue; the only code that reads
// rings. Source: OASIS virtio 1.2, section 2.7.
//
//   while (auto chain = queue.pop()) answer(*chain);
//   queue.signal_used();
//
// Addresses and features are frozen when the queue is made (at DRIVER_OK); nothing the driver
// writes to registers later reaches it. Every value in guest memory is read once and then checked.
// A chain that is wrong (loop, outside RAM, readable after writable, empty descriptor, nested or
// oversized indirect table) goes back empty and is counted. A ring that is wrong (index jumps, head
// out of range, head still in flight) cannot be answered: the queue is broken until the driver
// resets the device.
//
// One thread at a time: the worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/virtio/chain.h"
#include "hypervisor_core/virtio/spec.h"

namespace reeve::core::virtio {

/// How a device reaches the driver; the transport implements it. Any thread.
class Interrupts {
 public:
  virtual ~Interrupts() = default;
  virtual void queue_used(std::uint16_t queue) = 0;
  virtual void config_changed() = 0;
  /// The driver broke a ring: set DEVICE_NEEDS_RESET and tell it.
  virtual void needs_reset() = 0;
};

/// What the driver told the transport about a queue, and which ring features it accepted.
struct QueueConfig {
  std::uint16_t index = 0;
  std::uint16_t size = 0;
  Gpa descriptors = 0;
  Gpa available = 0;
  Gpa used = 0;
  std::uint64_t features = 0;  ///< negotiated
};

/// Where a queue stands when it is stopped; with its config all there is to save.
struct QueuePosition {
  std::uint16_t next_available = 0;
  std::uint16_t next_used = 0;
  bool operator==(const QueuePosition&) const = default;
};

class Queue {
 public:
  /// InvalidArgument/QUEUE_SIZE (power of two, 1 to kMaxQueueSize), QUEUE_ALIGNMENT,
  /// QUEUE_NOT_IN_RAM. `memory` and `interrupts` outlive the queue.
  static Result<std::unique_ptr<Queue>> create(GuestMemory& memory, Interrupts& interrupts,
                                               const QueueConfig& config,
                                               QueuePosition position = {});
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// The next request, or nothing; after nothing the driver will kick for the next one.
  std::optional<Chain> pop();
  /// Undoes the latest pop(): the chain is the next one again. Only for a chain popped last and not
  /// written to.
  void put_back(Chain&& chain);
  /// Takes a chain out of flight without returning it, for reopen() here or on another host: a
  /// request that cannot be served now and must not be lost.
  std::uint16_t suspend(Chain&& chain);
  /// The chain at a head that was suspended, read anew; nothing when it is bad now, which is
  /// counted and returned empty. Before the first pop().
  std::optional<Chain> reopen(std::uint16_t head);
  /// Interrupts the driver if chains were returned since the last call and it wants to know.
  void signal_used();

  /// True when the driver broke the ring: nothing is popped any more.
  bool broken() const { return broken_; }
  std::uint16_t index() const { return config_.index; }
  std::uint16_t size() const { return config_.size; }
  std::uint64_t features() const { return config_.features; }
  const QueueConfig& config() const { return config_; }
  /// Chains the device holds.
  std::size_t in_flight() const { return in_flight_count_; }
  QueuePosition position() const { return {next_available_, next_used_}; }

  struct Counters {
    std::uint64_t chains = 0;
    std::uint64_t bad_chains = 0;
    std::uint64_t interrupts = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  friend class Chain;
  using Segment = Chain::Segment;

  Queue(GuestMemory& memory, Interrupts& interrupts, const QueueConfig& config,
        QueuePosition position);
  std::optional<std::uint16_t> ring_value(Gpa address);
  bool fetch_available();
  std::optional<Chain> open(std::uint16_t head);
  bool driver_has_more();
  void allow_kicks(bool allow);
  Result<std::size_t> collect(std::uint16_t head, std::vector<Segment>& out);
  bool driver_wants_interrupt();
  void give_back(std::uint16_t head, std::size_t written);
  void recycle(std::vector<Segment> segments);
  void break_ring();

  bool has(std::uint64_t feature) const { return (config_.features & feature) != 0; }
  std::uint16_t slot(std::uint16_t position) const {
    return static_cast<std::uint16_t>(position & (config_.size - 1));
  }

  GuestMemory& memory_;
  Interrupts& interrupts_;
  const QueueConfig config_;
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
  std::uint16_t seen_available_ = 0;  ///< the driver's index when last read
  std::uint16_t signalled_used_ = 0;  ///< next_used_ at the last signal_used()
  std::uint16_t flags_ = 0;           ///< last written used.flags
  bool kicks_allowed_ = false;  ///< unknown at first, so the first look at an empty ring writes it
  bool broken_ = false;
  std::vector<bool> heads_in_flight_;
  std::size_t in_flight_count_ = 0;
  std::vector<std::vector<Segment>> spare_;  ///< of returned chains, to save allocations
  Counters counters_;
};

}  // namespace reeve::core::virtio
