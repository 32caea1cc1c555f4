// agent/console/ring.h - the last bytes of one guest's console, in a file of fixed size.
//
// Bytes are addressed by their offset in everything the guest ever wrote. The file also remembers
// how far the hypervisor's log was taken, in the same record as the end of the ring: after a crash
// no byte is there twice or missing. Layout: two records of 64 bytes, each valid by its checksum,
// the one with the higher sequence counts; then, from byte 4096, the data, byte `offset % capacity`
// each. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/status.h"

namespace reeve::agent {

inline constexpr std::uint64_t kConsoleRingBytes = 1u << 20;

/// How far the hypervisor's log was taken.
struct LogPosition {
  std::uint64_t inode = 0;  ///< 0: nothing was taken yet
  std::uint64_t offset = 0;
};

struct ConsoleChunk {
  std::uint64_t offset = 0;  ///< of the first byte of `data`
  std::string data{};        ///< empty: nothing new
  std::uint64_t lost = 0;    ///< bytes between what was asked for and `offset`
};

class ConsoleRing {
 public:
  /// Opens or makes the file. A file that is not a ring is begun anew. Errors of base/file.h.
  static Result<ConsoleRing> open(const std::string& path,
                                  std::uint64_t capacity = kConsoleRingBytes);

  /// Adds bytes, dropping the oldest; `position` is where the log was taken up to with them.
  Status append(std::string_view data, LogPosition position);
  /// Up to `limit` bytes from `offset` on; below 0 from the oldest held. Beyond the end: nothing.
  Result<ConsoleChunk> read(std::int64_t offset, std::size_t limit) const;

  std::uint64_t end() const { return end_; }
  std::uint64_t begin() const { return end_ > capacity_ ? end_ - capacity_ : 0; }
  LogPosition log_position() const { return position_; }

 private:
  ConsoleRing(Fd fd, std::uint64_t capacity) : fd_(std::move(fd)), capacity_(capacity) {}
  void load();
  Status store();

  Fd fd_;
  std::uint64_t capacity_;
  std::uint64_t sequence_ = 0;
  std::uint64_t end_ = 0;
  LogPosition position_{};
};

}  // namespace reeve::agent
