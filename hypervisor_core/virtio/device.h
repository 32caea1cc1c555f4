// hypervisor_core/virtio/device.h - what a transport and its workers need from a virtio device.
//
// Life: made -> activate() at DRIVER_OK -> workers serve -> workers stopped -> (started again |
// reset()). Pause, save and reset all stop the workers first, so a device never sees its queues
// change under it.
//
//   thread             calls
//   worker of queue q  serve(q), on_event(token of q), quiesce()
//   any vCPU           read_config(), write_config(), one at a time, beside the workers
//   control            activate(), reset(), save_state(), load_state(): only while no worker runs
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/virtio/queue.h"
#include "hypervisor_core/virtio/spec.h"

namespace reeve::core::virtio {

/// Fixed for the life of a device; the transport reads it once.
struct Traits {
  std::uint32_t device_id = 0;  ///< virtio 1.2, chapter 5
  std::uint64_t features = 0;   ///< device bits only; the transport adds kCommonFeatures
  std::span<const std::uint16_t> queue_sizes{};  ///< one entry per queue, powers of two
  std::uint32_t config_size = 0;                 ///< bytes of device configuration
  /// Queue i is served by worker i / queues_per_worker; 0: one worker for all.
  std::uint16_t queues_per_worker = 0;
};

/// What the driver agreed to, valid from activate() to reset().
struct Activation {
  std::uint64_t features = 0;        ///< negotiated, ring bits included
  Interrupts* interrupts = nullptr;  ///< for config_changed(); outlives the activation
};

/// The queues of one worker. A queue that the driver left disabled is absent.
class QueueSet {
 public:
  virtual ~QueueSet() = default;
  virtual Queue* find(std::uint16_t index) = 0;
};

/// A descriptor to watch on the worker that serves `queue`. Edge-triggered: on_event() reads until
/// EAGAIN, or serve() carries on later.
struct EventSource {
  int fd = -1;  ///< belongs to the device
  std::uint16_t queue = 0;
  std::uint32_t token = 0;  ///< handed to on_event()
  bool writable = false;    ///< tell of room for writing as well
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;
  virtual Traits traits() const = 0;

  virtual void activate(const Activation& /*activation*/) {}
  /// Answers every chain now available in queue `index`. Called after a kick, and once for every
  /// queue when its worker starts. Guest input is hostile: a bad chain is returned empty and
  /// counted, never thrown, asserted on or logged per request.
  virtual void serve(std::uint16_t index, Queue& queue) = 0;
  /// Asked once whenever workers start.
  virtual std::vector<EventSource> event_sources() { return {}; }
  virtual void on_event(std::uint32_t /*token*/, QueueSet& /*queues*/) {}
  /// The last call on a worker: finish or put back every chain of these queues.
  virtual void quiesce(QueueSet& /*queues*/) {}

  /// Any offset and length; bytes outside the configuration read as zero.
  virtual void read_config(std::uint32_t /*offset*/, std::span<std::byte> out) {
    for (auto& b : out) b = std::byte{0};
  }
  virtual void write_config(std::uint32_t /*offset*/, std::span<const std::byte> /*bytes*/) {}
  /// Back to the state before activate(). Keeps what the host configured.
  virtual void reset() {}

  /// The device's own state (not its queues) as a versioned message of reeve.core.v1; empty: none.
  virtual std::string save_state() const { return {}; }
  /// After activate(), when the saved device was active.
  /// InvalidArgument/DEVICE_STATE when the bytes are not such a message or ask for what we cannot
  /// honour.
  virtual Status load_state(std::string_view state) {
    if (state.empty()) return {};
    return Error{Code::InvalidArgument, "DEVICE_STATE", "the device has no state"};
  }
};

/// InvalidArgument/DEVICE_STATE.
Error bad_state(std::string what);
/// Copies the part of `config` that a read at `offset` wants; zeroes beyond its end.
void copy_config(std::span<const std::byte> config, std::uint32_t offset, std::span<std::byte> out);

}  // namespace reeve::core::virtio
