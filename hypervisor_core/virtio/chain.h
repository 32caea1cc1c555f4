// hypervisor_core/virtio/chain.h - one request of the driver: the bytes it lends us, owed back to
// it.
//
// Every address was read once from the ring, checked against RAM and turned into a host range
// before the device sees the chain. The *bytes* in those ranges still belong to a hostile guest and
// change at any moment: copy, then check the copy.
//
// Move-only. Whoever holds a Chain owes the guest an answer; the destructor gives it, so no path
// can forget. A chain lives on the thread of its queue and must be gone before the queue is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/uio.h>

#include "base/status.h"
#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::virtio {

class Queue;

class Chain {
 public:
  Chain(Chain&& other) noexcept;
  Chain& operator=(Chain&& other) noexcept;
  ~Chain() { finish(); }

  /// Bytes not yet read or skipped, and room not yet written or skipped.
  std::size_t readable_bytes() const { return readable_.left; }
  std::size_t writable_bytes() const { return writable_.left; }

  /// Copies the next bytes out, all or nothing. InvalidArgument/CHAIN_TOO_SHORT.
  Status read(std::span<std::byte> out);
  /// Copies as many of the next bytes as there are and fit.
  std::size_t read_some(std::span<std::byte> out);
  /// A packed structure as the guest laid it out.
  template <class T>
  requires std::is_trivially_copyable_v<T> Result<T> read_object() {
    T copy;
    TRY(read(std::as_writable_bytes(std::span(&copy, 1))));
    return copy;
  }
  /// Copies into the next room, all or nothing. InvalidArgument/CHAIN_TOO_SHORT.
  Status write(std::span<const std::byte> bytes);
  template <class T>
  requires std::is_trivially_copyable_v<T> Status write_object(const T& value) {
    return write(std::as_bytes(std::span(&value, 1)));
  }
  /// Puts `bytes` at the very end of the room (a status byte), apart from what write() fills in
  /// order.
  Status write_last(std::span<const std::byte> bytes);

  /// Changes bytes of the room from position `at` on, written before or not; what does not fit is
  /// left out.
  void rewrite(std::size_t at, std::span<const std::byte> bytes);

  /// Host ranges for zero-copy I/O: appends the next `length` bytes and moves past them. The caller
  /// has checked that there are that many. Ranges stay valid until the chain is returned.
  void take_readable(std::size_t length, std::vector<iovec>& out);
  /// The same for room; the bytes count as written, so shorten() after a short read.
  void take_writable(std::size_t length, std::vector<iovec>& out);
  /// The used length told to the driver becomes at most `bytes`.
  void shorten(std::size_t bytes) { written_ = std::min(written_, bytes); }
  std::size_t written_bytes() const { return written_; }

  /// Returns the chain to the driver now; the destructor then has nothing to do.
  void finish();
  std::uint16_t head() const { return head_; }

 private:
  friend class Queue;
  struct Segment {
    Gpa address = 0;
    std::byte* host = nullptr;
    std::size_t length = 0;
  };
  /// A position in a run of segments.
  struct Cursor {
    std::size_t segment = 0;
    std::size_t end = 0;     ///< one past the last segment
    std::size_t offset = 0;  ///< in `segment`
    std::size_t left = 0;    ///< bytes from here to the end
  };

  Chain(Queue& queue, std::uint16_t head, std::vector<Segment> segments, std::size_t readable);
  /// Calls `use(segment, offset, length)` over the next `length` bytes, which exist.
  template <class Use>
  void advance(Cursor& cursor, std::size_t length, Use use);

  Queue* queue_ = nullptr;  // null once returned or moved from
  std::uint16_t head_ = 0;
  std::vector<Segment> segments_;  // readable ones first
  Cursor readable_{};
  Cursor writable_{};
  std::size_t written_ = 0;
};

}  // namespace reeve::core::virtio
