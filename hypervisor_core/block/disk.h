// hypervisor_core/block/disk.h - a virtual disk, and what some disks can do besides reading and
// writing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/uio.h>

#include "base/status.h"

namespace reeve::core {

inline constexpr std::uint64_t kSectorBytes = 512;
/// Layers from the top overlay down to its last backing disk.
inline constexpr std::uint32_t kMaxChainDepth = 32;

enum class Access : std::uint8_t { ReadOnly, ReadWrite };

/// Optional ability, reached through Disk::discard().
class Discard {
 public:
  virtual ~Discard() = default;
  /// The range need not be kept; it reads as zeroes or as before, never as something else's old
  /// bytes.
  virtual Status discard(std::uint64_t offset, std::uint64_t length) = 0;
};

/// Optional ability, reached through Disk::resize().
class Resize {
 public:
  virtual ~Resize() = default;
  /// New bytes read as zeroes. InvalidArgument/DISK_SHRINK when smaller, DISK_SIZE when impossible.
  virtual Status grow(std::uint64_t size_bytes) = 0;
};

/// What a range of a disk holds, without its bytes.
struct Extent {
  enum class Kind : std::uint8_t {
    Data,     ///< stored in this layer
    Zero,     ///< reads as zeroes because this layer says so
    Backing,  ///< nothing in this layer: the backing disk decides, or zeroes when there is none
  };
  std::uint64_t length = 0;
  Kind kind = Kind::Data;
};

/// Optional ability, reached through Disk::extents().
class Extents {
 public:
  virtual ~Extents() = default;
  /// The run that starts at `offset`, at most `limit` bytes of it.
  virtual Result<Extent> extent_at(std::uint64_t offset, std::uint64_t limit) = 0;
};

/// Optional ability, reached through Disk::file(): byte n of the disk is byte n of the file, so
/// that I/O may be handed to the kernel directly. Whoever does so keeps inside size_bytes() and
/// honours read_only().
class PlainFile {
 public:
  virtual ~PlainFile() = default;
  virtual int fd() const = 0;
};

/// Calls block and may come from several threads at once; requests in flight at the same time may
/// take effect in any order. What was written survives a crash of the host only after flush().
///
/// Errors: OutOfRange/DISK_RANGE, FailedPrecondition/DISK_READ_ONLY, ResourceExhausted/DISK_FULL
/// (nothing is lost, try again when there is room), DataLoss/QCOW2_CORRUPT, those of system calls.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual std::uint64_t size_bytes() const = 0;  ///< a multiple of 512
  virtual bool read_only() const = 0;
  virtual std::uint32_t chain_depth() const { return 1; }

  virtual Status read(std::uint64_t offset, std::span<const iovec> out) = 0;
  virtual Status write(std::uint64_t offset, std::span<const iovec> in) = 0;
  /// Zeroes the range. `Unmap::Yes` may give the space back.
  enum class Unmap : std::uint8_t { No, Yes };
  virtual Status write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) = 0;
  virtual Status flush() = 0;

  virtual Discard* discard() { return nullptr; }
  virtual Resize* resize() { return nullptr; }
  virtual Extents* extents() { return nullptr; }
  virtual PlainFile* file() { return nullptr; }

  Status read_bytes(std::uint64_t offset, std::span<std::byte> out);
  Status write_bytes(std::uint64_t offset, std::span<const std::byte> in);
  /// OutOfRange/DISK_RANGE unless [offset, offset + length) lies inside the disk.
  Status check_range(std::uint64_t offset, std::uint64_t length) const;
  /// FailedPrecondition/DISK_READ_ONLY.
  Status check_writable() const;
};

/// Sum of the lengths.
std::uint64_t total_length(std::span<const iovec> ranges);

}  // namespace reeve::core
