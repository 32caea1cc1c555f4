// hypervisor_core/net/gather.h - bytes in scattered ranges of memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include <sys/uio.h>

namespace reeve::core {

inline std::size_t gather_length(std::span<const iovec> ranges) {
  std::size_t sum = 0;
  for (const auto& range : ranges) sum += range.iov_len;
  return sum;
}

/// Appends the ranges of all bytes from `from` on.
inline void gather_slice(std::span<const iovec> ranges, std::size_t from, std::vector<iovec>& out) {
  for (const auto& range : ranges) {
    if (from >= range.iov_len) {
      from -= range.iov_len;
      continue;
    }
    out.push_back({static_cast<std::byte*>(range.iov_base) + from, range.iov_len - from});
    from = 0;
  }
}

/// Appends all bytes from `from` on.
inline void gather_copy(std::span<const iovec> ranges, std::size_t from,
                        std::vector<std::byte>& out) {
  std::vector<iovec> rest;
  gather_slice(ranges, from, rest);
  for (const auto& range : rest) {
    const auto* bytes = static_cast<const std::byte*>(range.iov_base);
    out.insert(out.end(), bytes, bytes + range.iov_len);
  }
}

/// Copies `bytes` to position `at`; what does not fit is left out.
inline void scatter(std::span<const iovec> ranges, std::size_t at,
                    std::span<const std::byte> bytes) {
  for (const auto& range : ranges) {
    if (bytes.empty()) return;
    if (at >= range.iov_len) {
      at -= range.iov_len;
      continue;
    }
    const std::size_t step = std::min(bytes.size(), range.iov_len - at);
    std::memcpy(static_cast<std::byte*>(range.iov_base) + at, bytes.data(), step);
    bytes = bytes.subspan(step);
    at = 0;
  }
}

}  // namespace reeve::core
