// hypervisor_core/virtio/devices/console.h - virtio console device with several ports.
// Source: OASIS virtio 1.2, section 5.3. A port is a console (hvc0) or a named channel such as
// "org.qemu.guest_agent.0". One worker.
//
// What a guest writes is bounded: a port whose host side takes nothing holds one write of at most
// kMaxWrite bytes, and the guest waits for the rest. What the host sends is bounded by kMaxToGuest.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "hypervisor_core/virtio/device.h"
#include "hypervisor_core/virtio/wake_fd.h"

namespace reeve::core::virtio {

/// The host's end of a port. Called on the worker; must not block or call back into the device.
class PortSink {
 public:
  virtual ~PortSink() = default;
  /// Takes some of the bytes and says how many. After fewer than all: Console::resume().
  virtual std::size_t guest_wrote(std::span<const std::byte> bytes) = 0;
  /// A program in the guest opened or closed the port.
  virtual void guest_opened(bool /*open*/) {}
};

struct PortOptions {
  std::string name{};        ///< at most 64 bytes; empty for a console
  bool is_console = false;   ///< becomes hvcN in the guest
  PortSink* sink = nullptr;  ///< outlives the device
};

class Console final : public Device {
 public:
  static constexpr std::size_t kMaxPorts = 8;
  static constexpr std::size_t kMaxWrite = 64u << 10;
  static constexpr std::size_t kMaxToGuest = 64u << 10;

  /// InvalidArgument/CONSOLE_PORTS for no or too many ports, long names or missing sinks.
  static Result<std::unique_ptr<Console>> create(std::vector<PortOptions> ports);

  std::string_view name() const override { return "virtio-console"; }
  Traits traits() const override;
  void activate(const Activation& activation) override;
  void serve(std::uint16_t index, Queue& queue) override;
  std::vector<EventSource> event_sources() override { return {{.fd = wake_.fd()}}; }
  void on_event(std::uint32_t token, QueueSet& queues) override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) override;
  void reset() override;
  std::string save_state() const override;
  Status load_state(std::string_view state) override;

  /// Any thread: bytes for the guest; returns how many were taken. The rest when the guest has read
  /// some.
  std::size_t send(std::size_t port, std::span<const std::byte> bytes);
  /// Any thread: how many would be taken now.
  std::size_t room(std::size_t port) const;
  /// Any thread: the sink has room again.
  void resume() { wake_.wake(); }
  /// Any thread: tells the guest that somebody listens on a named port.
  void set_host_open(std::size_t port, bool open);
  bool guest_has_open(std::size_t port) const;
  void set_window(std::uint16_t columns, std::uint16_t rows);

  struct Counters {
    std::atomic<std::uint64_t> to_guest_bytes{0}, from_guest_bytes{0}, bad_chains{0};
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Port {
    PortOptions options{};
    bool ready = false, guest_open = false, host_open = false;
    std::deque<std::byte> to_guest{};
    std::vector<std::byte> to_host{};  ///< worker's own; one write
  };
  struct ControlMessage {
    std::uint32_t port = 0;
    std::uint16_t event = 0;
    std::uint16_t value = 0;
  };

  Console(std::vector<PortOptions> ports, WakeFd wake);
  bool multiport() const { return (features_ & 2) != 0; }
  static std::uint16_t receive_queue(std::size_t port) {
    return static_cast<std::uint16_t>(port == 0 ? 0 : 2 * port + 2);
  }
  void hear(const ControlMessage& message) REEVE_REQUIRES(mutex_);
  void tell(const ControlMessage& message, std::string_view name = {}) REEVE_REQUIRES(mutex_);
  void greet(std::uint32_t index, const Port& port) REEVE_REQUIRES(mutex_);
  void control_from_guest(Queue& queue);
  void control_to_guest(Queue& queue);
  void from_guest(Port& port, Queue& queue);
  void to_guest(Port& port, Queue& queue);
  bool pass_on(Port& port);

  std::vector<std::uint16_t> queue_sizes_;
  WakeFd wake_;
  std::atomic<std::uint64_t> features_{0};
  mutable Mutex mutex_;  // guards what other threads touch; a port's to_host is the worker's
  std::vector<Port> ports_;
  bool ready_ REEVE_GUARDED_BY(mutex_) = false;
  std::deque<std::string> messages_ REEVE_GUARDED_BY(mutex_);  ///< for the guest
  std::uint16_t columns_ REEVE_GUARDED_BY(mutex_) = 80;
  std::uint16_t rows_ REEVE_GUARDED_BY(mutex_) = 25;
  Counters counters_;
};

}  // namespace reeve::core::virtio
