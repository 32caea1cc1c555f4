// hypervisor_core/virtio/devices/vsock.h - virtio socket device.
// Source: OASIS virtio 1.2, section 5.10. Streams between the guest and UNIX sockets of the host,
// in the way of Firecracker: a guest that connects to port P of the host reaches the socket
// "PREFIX_P"; a program on the host connects to the socket "PREFIX", says "CONNECT P\n" and reads
// "OK Q\n" once the guest's port P took it.
//
// At most kMaxConnections at a time, each with bounded buffers. Connections do not survive save and
// restore: the guest is told so and resets them. One worker.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hypervisor_core/virtio/device.h"
#include "hypervisor_core/virtio/devices/vsock_connection.h"
#include "hypervisor_core/virtio/wake_fd.h"

namespace reeve::core::virtio {

/// Where a guest's connections go. Called on the worker.
class VsockHost {
 public:
  virtual ~VsockHost() = default;
  /// A connected, non-blocking stream socket for a guest that connects to `port`.
  virtual Result<Fd> connect(std::uint32_t port) = 0;
  /// A listening, non-blocking UNIX socket for programs that connect to the guest; -1: none.
  virtual int listener() const { return -1; }
};

/// Sockets named by a path. Removes its own socket at the end.
class VsockUnixHost final : public VsockHost {
 public:
  /// Listens on `prefix`. Errors of system calls; InvalidArgument/SOCKET_PATH when it is too long.
  static Result<std::unique_ptr<VsockUnixHost>> listen(const std::filesystem::path& prefix);
  ~VsockUnixHost() override;
  Result<Fd> connect(std::uint32_t port) override;
  int listener() const override { return listener_.get(); }

 private:
  VsockUnixHost(std::filesystem::path prefix, Fd listener)
      : prefix_(std::move(prefix)), listener_(std::move(listener)) {}
  const std::filesystem::path prefix_;
  Fd listener_;
};

class Vsock final : public Device {
 public:
  static constexpr std::size_t kMaxConnections = 256;
  static constexpr std::size_t kMaxPacket = 64u << 10;

  /// `host` outlives the device. InvalidArgument/VSOCK_CID below 3 or above 32 bits; errors of
  /// epoll.
  static Result<std::unique_ptr<Vsock>> create(VsockHost& host, std::uint64_t guest_cid);

  std::string_view name() const override { return "virtio-vsock"; }
  Traits traits() const override;
  void serve(std::uint16_t index, Queue& queue) override;
  std::vector<EventSource> event_sources() override {
    return {{.fd = poll_.get()}, {.fd = wake_.fd(), .token = 1}};
  }
  void on_event(std::uint32_t token, QueueSet& queues) override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) override;
  void reset() override;
  std::string save_state() const override;
  Status load_state(std::string_view state) override;

  struct Counters {
    std::atomic<std::uint64_t> to_guest_bytes{0}, from_guest_bytes{0}, connections{0};
    std::atomic<std::uint64_t> refused{0}, bad_packets{0};
  };
  const Counters& counters() const { return counters_; }
  std::size_t connections() const { return count_; }

 private:
  using Ports = VsockConnection::Ports;
  static constexpr std::array<std::uint16_t, 3> kQueues{256, 256, 16};
  /// A program on the host that has not yet said which port it wants.
  struct Greeting {
    Fd socket{};
    std::string line{};
    std::uint64_t number = 0;  ///< in the order of their coming
  };

  Vsock(VsockHost& host, std::uint64_t guest_cid, Fd poll, WakeFd wake)
      : host_(host), guest_cid_(guest_cid), poll_(std::move(poll)), wake_(std::move(wake)) {}
  void from_guest(Queue& queue);
  void packet(const VsockHeader& header, std::span<const std::byte> data);
  void open_for_guest(const VsockHeader& header);
  void to_guest(Queue& queue);
  bool fill(Chain& chain);
  void events(Queue& queue);
  void accept_programs();
  void hear_program(int fd);
  void connect_to_guest(Greeting greeting, std::uint32_t port);
  void add(Ports ports, VsockConnection::Origin origin, Fd socket);
  void watch(VsockConnection& connection);
  void refuse(const VsockHeader& header);
  void drop(std::map<Ports, std::unique_ptr<VsockConnection>>::iterator entry);
  VsockHeader header_for(Ports ports) const;

  VsockHost& host_;
  const std::uint64_t guest_cid_;
  Fd poll_;
  WakeFd wake_;  ///< answers wait for the other queue
  std::map<Ports, std::unique_ptr<VsockConnection>> connections_;
  std::map<int, Ports> by_fd_;
  std::map<int, Greeting> greetings_;
  std::uint64_t greeted_ = 0;
  std::map<Ports, bool> answered_;  ///< host-made connections whose "OK" is still owed
  std::deque<VsockHeader> resets_;  ///< for packets of no connection; bounded
  Ports last_served_{};             ///< whose turn it was
  std::uint32_t next_host_port_ = 1u << 30;
  bool reset_event_due_ = false;
  std::atomic<std::size_t> count_{0};
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kMaxPacket);
  Counters counters_;
};

}  // namespace reeve::core::virtio
