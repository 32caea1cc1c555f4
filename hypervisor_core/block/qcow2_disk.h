// hypervisor_core/block/qcow2_disk.h - a qcow2 image as a disk, alone or as an overlay on another
// disk.
//
// Crash consistency: data and refcounts are durable before the L2 entries that name them, L2 before
// L1, and a cluster is given back only after the entries that named it are gone. So a crash at any
// point leaves an image that qemu-img check finds sound but for leaked clusters, holding everything
// flushed before.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "hypervisor_core/block/disk.h"
#include "hypervisor_core/block/qcow2_header.h"
#include "hypervisor_core/block/qcow2_map.h"
#include "hypervisor_core/block/qcow2_refcounts.h"

namespace reeve::core {

class Qcow2Disk final : public Disk, private Discard, private Resize, private Extents {
 public:
  /// `backing` is what the inventory says lies under the image; the name in the header is not
  /// followed. FailedPrecondition: QCOW2_BACKING_MISSING or QCOW2_BACKING_UNEXPECTED when the
  /// header and the caller disagree about there being one, DISK_CHAIN_TOO_LONG beyond
  /// kMaxChainDepth layers, DISK_IN_USE. Errors of inspect_qcow2(); DataLoss/QCOW2_CORRUPT,
  /// QCOW2_OVERLAP for tables that lie.
  static Result<std::unique_ptr<Qcow2Disk>> open(Fd fd, Access access,
                                                 std::unique_ptr<Disk> backing = nullptr);
  /// Writes back what is left. To learn of errors, flush() before.
  ~Qcow2Disk() override;

  std::uint64_t size_bytes() const override { return size_; }
  bool read_only() const override { return access_ == Access::ReadOnly; }
  std::uint32_t chain_depth() const override { return backing_ ? backing_->chain_depth() + 1 : 1; }
  Status read(std::uint64_t offset, std::span<const iovec> out) override;
  Status write(std::uint64_t offset, std::span<const iovec> in) override;
  Status write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Status flush() override;

  Discard* discard() override { return this; }
  Resize* resize() override { return this; }
  Extents* extents() override { return this; }

  Disk* backing() { return backing_.get(); }
  std::uint64_t cluster_size() const { return facts_.cluster_size(); }

 private:
  Qcow2Disk(Fd fd, Access access, Qcow2Facts facts, std::unique_ptr<Disk> backing);
  Status discard(std::uint64_t offset, std::uint64_t length) override;
  Status grow(std::uint64_t size_bytes) override;
  Result<Extent> extent_at(std::uint64_t offset, std::uint64_t limit) override;

  /// A request that touches clusters outside the mutex. Clusters released meanwhile are not reused.
  class InFlight;

  Status read_backing(std::uint64_t offset, std::span<const iovec> out);
  Status read_compressed(const Mapping& mapping, std::uint64_t offset, std::span<const iovec> out)
      REEVE_REQUIRES(mutex_);
  Status read_mapped(const Mapping& mapping, std::uint64_t offset, std::span<const iovec> out)
      REEVE_REQUIRES(mutex_);
  Status read_locked(std::uint64_t offset, std::span<std::byte> out) REEVE_REQUIRES(mutex_);
  Result<bool> in_place(const Mapping& mapping) REEVE_REQUIRES(mutex_);
  /// Writes at `offset` into new clusters, as many bytes as one run takes; returns how many.
  Result<std::uint64_t> write_new(std::uint64_t offset, std::span<const iovec> in)
      REEVE_REQUIRES(mutex_);
  Status write_run(std::uint64_t offset, std::span<const iovec> in, Qcow2Refcounts::Run run)
      REEVE_REQUIRES(mutex_);
  Status zero_part(std::uint64_t offset, std::uint64_t length);
  Status zero_clusters(std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> new_run_length(std::uint64_t offset, std::uint64_t length)
      REEVE_REQUIRES(mutex_);
  Status write_back() REEVE_REQUIRES(mutex_);
  Status release_replaced() REEVE_REQUIRES(mutex_);
  bool dirty() const REEVE_REQUIRES(mutex_) { return map_->dirty() || refcounts_->dirty(); }

  const Fd fd_;
  const Access access_;
  const Qcow2Facts facts_;
  const std::unique_ptr<Disk> backing_;
  std::atomic<std::uint64_t> size_;

  Mutex mutex_;  // guards everything below but active_; held during disk I/O of allocating writes
  MetadataClusters metadata_ REEVE_GUARDED_BY(mutex_);
  std::unique_ptr<Qcow2Refcounts> refcounts_ REEVE_GUARDED_BY(mutex_);
  std::unique_ptr<Qcow2Map> map_ REEVE_GUARDED_BY(mutex_);
  /// Requests in flight by the parity of the epoch they started in.
  std::array<std::atomic<std::uint64_t>, 2> active_{};
  std::uint64_t epoch_ REEVE_GUARDED_BY(mutex_) = 0;
  std::vector<std::uint64_t> replaced_now_ REEVE_GUARDED_BY(mutex_);  ///< unnamed since this epoch
  std::vector<std::uint64_t> replaced_before_ REEVE_GUARDED_BY(mutex_);  ///< since the one before
  std::uint64_t unpacked_from_ REEVE_GUARDED_BY(mutex_) =
      0;  ///< host offset of what unpacked_ holds
  std::vector<std::byte> unpacked_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::core
