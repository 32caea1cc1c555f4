// tests/hypervisor_core/lab/host_side.h - what a guest talks to: the lab machine's end of networks
// and sockets.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>

#include "base/fd.h"

namespace reeve::lab {

/// Makes a tap device with an address, e.g. "tap0", "10.9.0.1/24"; it stays.
void make_tap(const std::string& name, const std::string& address, bool several_queues = false);

/// Serves streams (traffic.h) on a socket, a thread per connection, until the program ends.
class Peer {
 public:
  static Peer at_port(std::uint16_t port);
  static Peer at_path(const std::filesystem::path& path);
  /// Connections so far.
  int accepted() const { return *accepted_; }

 private:
  explicit Peer(Fd listener);
  std::shared_ptr<std::atomic<int>> accepted_ = std::make_shared<std::atomic<int>>(0);
};

/// A connection to a guest's vsock port through the machine's socket (virtio/devices/vsock.h).
Fd connect_vsock(const std::filesystem::path& socket, std::uint32_t port);

}  // namespace reeve::lab
