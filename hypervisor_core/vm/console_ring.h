// hypervisor_core/vm/console_ring.h - the last output of the guest's consoles, for readers that
// come and go.
//
// Bounded: a guest that floods its console overwrites its own oldest output. Readers name the
// offset they want; what is gone is skipped and visible as a jump.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "hypervisor_core/chipset/byte_sink.h"

namespace reeve::core {

class ConsoleRing final : public ByteSink {
 public:
  static constexpr std::size_t kCapacity = 256 << 10;

  explicit ConsoleRing(std::size_t capacity = kCapacity) : bytes_(capacity) {}

  void write(std::span<const std::byte> bytes) override;

  struct Piece {
    std::uint64_t offset = 0;  ///< of the first byte
    std::string bytes{};
  };
  /// Output from `offset` on, at most `limit` bytes; empty when there is none yet.
  Piece read(std::uint64_t offset, std::size_t limit) const;
  std::uint64_t end_offset() const;

  /// Called after output arrived, on the thread that wrote it, without a lock: must not block. One
  /// listener.
  void set_listener(std::function<void()> listener);

 private:
  mutable Mutex mutex_;
  std::vector<char> bytes_ REEVE_GUARDED_BY(mutex_);
  std::uint64_t end_ REEVE_GUARDED_BY(mutex_) = 0;
  std::function<void()> listener_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::core
