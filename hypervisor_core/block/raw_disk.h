// hypervisor_core/block/raw_disk.h - a disk whose bytes are the bytes of a file or block device.
#pragma once

#include <atomic>
#include <memory>

#include "base/fd.h"
#include "hypervisor_core/block/disk.h"

namespace reeve::core {

class RawDisk final : public Disk,
                      private Discard,
                      private Resize,
                      private Extents,
                      private PlainFile {
 public:
  /// `fd` is open for `access`. Locks the file against a second writer:
  /// FailedPrecondition/DISK_IN_USE. InvalidArgument/DISK_NOT_A_FILE. A size that is no multiple of
  /// 512 is rounded down.
  static Result<std::unique_ptr<RawDisk>> open(Fd fd, Access access);

  std::uint64_t size_bytes() const override { return size_; }
  bool read_only() const override { return access_ == Access::ReadOnly; }
  Status read(std::uint64_t offset, std::span<const iovec> out) override;
  Status write(std::uint64_t offset, std::span<const iovec> in) override;
  Status write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Status flush() override;

  Discard* discard() override { return this; }
  Resize* resize() override { return this; }
  Extents* extents() override { return this; }
  PlainFile* file() override { return this; }

 private:
  RawDisk(Fd fd, Access access, std::uint64_t size)
      : fd_(std::move(fd)), access_(access), size_(size) {}
  Status discard(std::uint64_t offset, std::uint64_t length) override;
  Status grow(std::uint64_t size_bytes) override;
  Result<Extent> extent_at(std::uint64_t offset, std::uint64_t limit) override;
  int fd() const override { return fd_.get(); }

  Fd fd_;
  const Access access_;
  std::atomic<std::uint64_t> size_;
};

/// Takes a lock for `access` on the open file, held until its last descriptor closes.
/// FailedPrecondition/DISK_IN_USE when another open file holds one that excludes it.
Status lock_disk_file(int fd, Access access);

}  // namespace reeve::core
