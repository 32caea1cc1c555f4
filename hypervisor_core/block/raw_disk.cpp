#include "hypervisor_core/block/raw_disk.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor_core/block/qcow2_header.h"
#include "hypervisor_core/block/vectored_io.h"

namespace reeve::core {
namespace {

/// fallocate(2); false when the file system cannot do that.
Result<bool> try_allocate(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
  while (::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == ENODEV) return false;
    return errno_error("changing the space of a disk");
  }
  return true;
}

}  // namespace

Status lock_disk_file(int fd, Access access) {
  struct flock lock {};
  lock.l_type = access == Access::ReadWrite ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
  if (errno == EAGAIN || errno == EACCES)
    return Error{Code::FailedPrecondition, "DISK_IN_USE",
                 "the disk is in use by another VM or job"};
  return errno_error("locking a disk");
}

Result<std::unique_ptr<RawDisk>> RawDisk::open(Fd fd, Access access) {
  const auto size = TRY(disk_file_size(fd.get()));
  TRY(lock_disk_file(fd.get(), access));
  return std::unique_ptr<RawDisk>(
      new RawDisk(std::move(fd), access, size / kSectorBytes * kSectorBytes));
}

Status RawDisk::read(std::uint64_t offset, std::span<const iovec> out) {
  TRY(check_range(offset, total_length(out)));
  return read_vectored(fd_.get(), offset, out);
}

Status RawDisk::write(std::uint64_t offset, std::span<const iovec> in) {
  TRY(check_writable());
  TRY(check_range(offset, total_length(in)));
  return write_vectored(fd_.get(), offset, in);
}

Status RawDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  TRY(check_writable());
  TRY(check_range(offset, length));
  if (length == 0) return {};
  const int mode = unmap == Unmap::Yes ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  if (TRY(try_allocate(fd_.get(), mode | FALLOC_FL_KEEP_SIZE, offset, length))) return {};
  return write_zero_bytes(fd_.get(), offset, length);
}

Status RawDisk::discard(std::uint64_t offset, std::uint64_t length) {
  TRY(check_writable());
  TRY(check_range(offset, length));
  if (length == 0) return {};
  // Where the file system cannot punch, keeping the bytes is a fine discard.
  TRY(try_allocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
  return {};
}

Status RawDisk::flush() {
  if (read_only()) return {};
  if (::fdatasync(fd_.get()) != 0) return errno_error("flushing a disk");
  return {};
}

Status RawDisk::grow(std::uint64_t size_bytes) {
  TRY(check_writable());
  if (size_bytes < size_)
    return Error{Code::InvalidArgument, "DISK_SHRINK", "a disk cannot be made smaller"};
  if (size_bytes % kSectorBytes != 0)
    return Error{Code::InvalidArgument, "DISK_SIZE", "the size is no multiple of 512"};
  // Others may have made it larger already; a block device only they can.
  if (TRY(disk_file_size(fd_.get())) < size_bytes &&
      ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0)
    return errno_error("growing a disk");
  if (::fsync(fd_.get()) != 0) return errno_error("flushing a disk");
  size_ = size_bytes;
  return {};
}

Result<Extent> RawDisk::extent_at(std::uint64_t offset, std::uint64_t limit) {
  TRY(check_range(offset, limit));
  const auto end = static_cast<off_t>(offset + limit);
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return Extent{limit, Extent::Kind::Zero};
  if (data < 0) return Extent{limit, Extent::Kind::Data};  // cannot tell: all of it counts
  if (data > static_cast<off_t>(offset))
    return Extent{static_cast<std::uint64_t>(std::min(data, end)) - offset, Extent::Kind::Zero};
  const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
  const off_t stop = hole < 0 ? end : std::min(hole, end);
  return Extent{static_cast<std::uint64_t>(stop) - offset, Extent::Kind::Data};
}

}  // namespace reeve::core
