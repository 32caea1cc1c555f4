#include "hypervisor_core/block/vectored_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <limits.h>

#include "base/fd.h"

namespace reeve::core {
namespace {

/// Drops `done` bytes from the front of `left`.
void consume(std::vector<iovec>& left, std::size_t& first, std::size_t done) {
  while (first < left.size() && done >= left[first].iov_len) done -= left[first++].iov_len;
  if (done > 0) {
    left[first].iov_base = static_cast<std::byte*>(left[first].iov_base) + done;
    left[first].iov_len -= done;
  }
}

/// Calls `transfer(ranges, count, offset)` until all is done; at_end() is called when it moves
/// nothing.
template <class Transfer, class AtEnd>
Status carry_through(std::uint64_t offset, std::span<const iovec> ranges, const char* what,
                     Transfer transfer, AtEnd at_end) {
  std::vector<iovec> left(ranges.begin(), ranges.end());
  std::size_t first = 0;
  while (first < left.size()) {
    const auto count = static_cast<int>(std::min<std::size_t>(left.size() - first, IOV_MAX));
    const ssize_t n = transfer(left.data() + first, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(what);
    if (n == 0) return at_end(std::span<const iovec>(left).subspan(first));
    offset += static_cast<std::uint64_t>(n);
    consume(left, first, static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Status read_vectored(int fd, std::uint64_t offset, std::span<const iovec> out) {
  return carry_through(
      offset, out, "reading a disk",
      [fd](const iovec* ranges, int count, off_t at) { return ::preadv(fd, ranges, count, at); },
      [](std::span<const iovec> rest) -> Status {
        zero(rest);
        return {};
      });
}

Status write_vectored(int fd, std::uint64_t offset, std::span<const iovec> in) {
  return carry_through(
      offset, in, "writing a disk",
      [fd](const iovec* ranges, int count, off_t at) { return ::pwritev(fd, ranges, count, at); },
      [](std::span<const iovec> rest) -> Status {
        if (std::all_of(rest.begin(), rest.end(), [](const iovec& r) { return r.iov_len == 0; }))
          return {};
        return Error{Code::Internal, "SYSTEM_CALL", "a write made no progress"};
      });
}

std::vector<iovec> slice(std::span<const iovec> ranges, std::uint64_t from, std::uint64_t length) {
  std::vector<iovec> out;
  for (const auto& range : ranges) {
    if (length == 0) break;
    if (from >= range.iov_len) {
      from -= range.iov_len;
      continue;
    }
    const auto step = std::min<std::uint64_t>(length, range.iov_len - from);
    out.push_back({static_cast<std::byte*>(range.iov_base) + from, step});
    length -= step;
    from = 0;
  }
  return out;
}

void zero(std::span<const iovec> ranges) {
  for (const auto& range : ranges)
    if (range.iov_len != 0) std::memset(range.iov_base, 0, range.iov_len);
}

Status write_zero_bytes(int fd, std::uint64_t offset, std::uint64_t length) {
  static const std::vector<std::byte> zeroes(256u << 10);
  while (length > 0) {
    const auto step = std::min<std::uint64_t>(length, zeroes.size());
    const iovec range{const_cast<std::byte*>(zeroes.data()), step};
    TRY(write_vectored(fd, offset, std::span(&range, 1)));
    offset += step;
    length -= step;
  }
  return {};
}

}  // namespace reeve::core
