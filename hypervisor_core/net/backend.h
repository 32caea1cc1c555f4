// hypervisor_core/net/backend.h - where a network card's frames go to and come from.
//
// Every frame travels behind a virtio_net_hdr of 12 bytes (virtio 1.2, section 5.1.6), whatever the
// backend speaks on its other side. A backend has one or more queue pairs; a pair is used by one
// thread at a time. Nothing here blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <sys/uio.h>

#include "base/status.h"

namespace reeve::core {

inline constexpr std::size_t kNetHeaderBytes = 12;
/// Largest frame with offloads: 64 KiB of IP behind Ethernet and a VLAN tag.
inline constexpr std::size_t kMaxFrameBytes = 65536 + 18;

enum class NetOutcome : std::uint8_t {
  Done,
  WouldBlock,  ///< nothing happened; try again when the descriptor is ready
  Dropped,     ///< the frame is gone: too large, refused, or nobody listens
  Lost,        ///< the other side is gone for good
};

/// Work that the other side of a frame is willing to do.
struct Offloads {
  bool checksum = false;
  bool tso4 = false;
  bool tso6 = false;
  bool operator==(const Offloads&) const = default;
};

class NetBackend {
 public:
  virtual ~NetBackend() = default;
  virtual std::string_view kind() const = 0;  ///< "tap", "passt", "loopback"
  virtual std::uint16_t pairs() const { return 1; }
  /// What it can do for frames in either direction.
  virtual Offloads offloads() const { return {}; }
  /// What the guest can take; at most offloads(). Before the first frame, and whenever the guest
  /// changes it.
  virtual Status set_guest_offloads(const Offloads& /*wanted*/) { return {}; }
  /// How many pairs frames are spread over from now on, 1 to pairs().
  virtual Status use_pairs(std::uint16_t /*count*/) { return {}; }

  /// Sends a header and a frame.
  virtual NetOutcome send(std::uint16_t pair, std::span<const iovec> frame) = 0;
  /// Goes on with a frame that send() took and could pass on only in part.
  virtual void flush(std::uint16_t /*pair*/) {}
  /// Receives a header and a frame into `room`; `bytes` is their length. Dropped: it did not fit.
  virtual NetOutcome receive(std::uint16_t pair, std::span<const iovec> room,
                             std::size_t& bytes) = 0;
  /// Readable when receive() may have something, writable when send() may go on.
  virtual int fd(std::uint16_t pair) const = 0;
};

}  // namespace reeve::core
