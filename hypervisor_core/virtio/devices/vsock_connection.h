// hypervisor_core/virtio/devices/vsock_connection.h - one stream between a guest's port and a
// host's socket.
//
// A small state machine without I/O of its own on the virtio side: it eats packets of the guest and
// says which packet to send next. Bounded: at most kBuffer bytes wait for the host, whatever the
// guest claims about credit. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "hypervisor_core/virtio/devices/vsock_packet.h"

namespace reeve::core::virtio {

class VsockConnection {
 public:
  static constexpr std::size_t kBuffer = 64u << 10;

  struct Ports {
    std::uint32_t guest = 0;
    std::uint32_t host = 0;
    auto operator<=>(const Ports&) const = default;
  };
  /// Who began: the guest (owed a RESPONSE) or the host (the guest is sent a REQUEST).
  enum class Origin : std::uint8_t { Guest, Host };

  /// `socket` is a connected, non-blocking stream socket.
  VsockConnection(Ports ports, Origin origin, Fd socket);

  /// A packet of the guest for this connection; `data` is its payload. Answers are due afterwards.
  void receive(const VsockHeader& header, std::span<const std::byte> data);
  /// The host's socket is readable or writable.
  void host_ready();

  /// Fills the header's operation, flags, length and credit, and `room` with payload. False:
  /// nothing now.
  bool next_packet(VsockHeader& header, std::span<std::byte> room);
  /// True when both sides are done with it and nothing is left to send.
  bool finished() const { return state_ == State::Dead && !reset_due_; }

  Ports ports() const { return ports_; }
  int fd() const { return socket_.get(); }
  /// True when the socket should be watched for input, or for room.
  bool wants_input() const;
  bool wants_room() const { return !to_host_.empty(); }

 private:
  enum class State : std::uint8_t { Connecting, Open, Dead };

  void take_credit(const VsockHeader& header);
  void take_data(std::span<const std::byte> data);
  void push_to_host();
  void fail();
  std::uint32_t guest_room() const;

  const Ports ports_;
  State state_;
  Fd socket_;
  bool response_due_ = false, request_due_ = false, reset_due_ = false, credit_due_ = false;
  bool host_ended_ = false;        ///< read() said end of file
  bool guest_ended_ = false;       ///< the guest will send no more
  bool guest_takes_none_ = false;  ///< the guest will receive no more
  bool input_waits_ = false;       ///< poll said that there is something to read
  std::vector<std::byte> to_host_;
  std::uint32_t sent_ = 0;            ///< bytes to the guest, ever (wraps)
  std::uint32_t forwarded_ = 0;       ///< bytes from the guest that left to_host_, ever (wraps)
  std::uint32_t told_forwarded_ = 0;  ///< as last told
  std::uint32_t guest_buffer_ = 0, guest_forwarded_ = 0;
};

}  // namespace reeve::core::virtio
