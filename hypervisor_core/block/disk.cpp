#include "hypervisor_core/block/disk.h"

namespace reeve::core {

std::uint64_t total_length(std::span<const iovec> ranges) {
  std::uint64_t sum = 0;
  for (const auto& range : ranges) sum += range.iov_len;
  return sum;
}

Status Disk::read_bytes(std::uint64_t offset, std::span<std::byte> out) {
  const iovec range{out.data(), out.size()};
  return read(offset, std::span(&range, 1));
}

Status Disk::write_bytes(std::uint64_t offset, std::span<const std::byte> in) {
  const iovec range{const_cast<std::byte*>(in.data()), in.size()};
  return write(offset, std::span(&range, 1));
}

Status Disk::check_range(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t size = size_bytes();
  if (offset > size || length > size - offset)
    return Error{Code::OutOfRange, "DISK_RANGE", "the range ends behind the disk"};
  return {};
}

Status Disk::check_writable() const {
  if (read_only())
    return Error{Code::FailedPrecondition, "DISK_READ_ONLY", "the disk is open for reading only"};
  return {};
}

}  // namespace reeve::core
