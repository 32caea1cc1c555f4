#include "hypervisor_core/block/qcow2_disk.h"

#include <algorithm>

#include "base/file.h"
#include "hypervisor_core/block/inflate.h"
#include "hypervisor_core/block/qcow2_io.h"
#include "hypervisor_core/block/raw_disk.h"
#include "hypervisor_core/block/vectored_io.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kMaxRunBytes = 8u << 20;  // of one allocating write

Error precondition(Reason reason, std::string message) {
  return {Code::FailedPrecondition, reason, std::move(message)};
}

}  // namespace

class Qcow2Disk::InFlight {
 public:
  /// Called under the disk's mutex, so that the epoch stands still.
  InFlight(Qcow2Disk& disk, std::uint64_t epoch) : count_(disk.active_[epoch % 2]) { ++count_; }
  ~InFlight() { --count_; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::atomic<std::uint64_t>& count_;
};

Qcow2Disk::Qcow2Disk(Fd fd, Access access, Qcow2Facts facts, std::unique_ptr<Disk> backing)
    : fd_(std::move(fd)),
      access_(access),
      facts_(std::move(facts)),
      backing_(std::move(backing)),
      size_(facts_.virtual_size) {}

Result<std::unique_ptr<Qcow2Disk>> Qcow2Disk::open(Fd fd, Access access,
                                                   std::unique_ptr<Disk> backing) {
  TRY(lock_disk_file(fd.get(), access));
  auto facts = TRY(inspect_qcow2(fd.get()));
  if (!facts.backing_file.empty() && backing == nullptr)
    return precondition("QCOW2_BACKING_MISSING", "the image needs its backing disk");
  if (facts.backing_file.empty() && backing != nullptr)
    return precondition("QCOW2_BACKING_UNEXPECTED", "the image does not lie on another disk");
  if (backing != nullptr && backing->chain_depth() >= kMaxChainDepth)
    return precondition("DISK_CHAIN_TOO_LONG", "the disk has too many layers")
        .remedy("Merge some of its checkpoints.");
  const bool clear_features = access == Access::ReadWrite && facts.autoclear_features != 0;
  std::unique_ptr<Qcow2Disk> disk(
      new Qcow2Disk(std::move(fd), access, std::move(facts), std::move(backing)));
  Lock lock(disk->mutex_);
  disk->refcounts_ = TRY(Qcow2Refcounts::load(disk->fd_.get(), disk->facts_, disk->metadata_));
  disk->map_ =
      TRY(Qcow2Map::load(disk->fd_.get(), disk->facts_, *disk->refcounts_, disk->metadata_));
  // What such a feature keeps (dirty bitmaps) is no longer true once we write.
  if (clear_features) TRY(write_header64(disk->fd_.get(), 88, 0));
  return disk;
}

Qcow2Disk::~Qcow2Disk() {
  if (read_only()) return;
  Lock lock(mutex_);
  if (map_ == nullptr) return;
  // Thrice: what one round releases is written by the next, and an epoch has to pass.
  for (int i = 0; i < 3; ++i)
    if (!write_back().ok()) return;
}

Status Qcow2Disk::read_backing(std::uint64_t offset, std::span<const iovec> out) {
  const std::uint64_t length = total_length(out);
  const std::uint64_t end = backing_ ? backing_->size_bytes() : 0;
  const std::uint64_t there = offset < end ? std::min(length, end - offset) : 0;
  if (there > 0) TRY(backing_->read(offset, slice(out, 0, there)));
  if (there < length) zero(slice(out, there, length - there));
  return {};
}

/// The latest cluster is kept unpacked: guests read it in small pieces.
Status Qcow2Disk::read_compressed(const Mapping& mapping, std::uint64_t offset,
                                  std::span<const iovec> out) {
  if (unpacked_from_ != mapping.host_offset || unpacked_.empty()) {
    std::vector<std::byte> packed(mapping.host_length);
    const iovec range{packed.data(), packed.size()};
    TRY(read_vectored(fd_.get(), mapping.host_offset, std::span(&range, 1)));
    unpacked_.resize(cluster_size());
    unpacked_from_ = mapping.host_offset;
    if (!inflate_raw(packed, unpacked_)) {
      unpacked_.clear();
      return corrupt("a compressed cluster cannot be unpacked");
    }
  }
  const std::byte* from = unpacked_.data() + offset % cluster_size();
  for (const auto& range : out) {
    std::copy_n(from, range.iov_len, static_cast<std::byte*>(range.iov_base));
    from += range.iov_len;
  }
  return {};
}

Status Qcow2Disk::read_mapped(const Mapping& mapping, std::uint64_t offset,
                              std::span<const iovec> out) {
  switch (mapping.kind) {
    case Mapping::Kind::Unallocated: return read_backing(offset, out);
    case Mapping::Kind::Zero: zero(out); return {};
    case Mapping::Kind::Compressed: return read_compressed(mapping, offset, out);
    case Mapping::Kind::Data: return read_vectored(fd_.get(), mapping.host_offset, out);
  }
  return {};
}

Status Qcow2Disk::read(std::uint64_t offset, std::span<const iovec> out) {
  const std::uint64_t length = total_length(out);
  TRY(check_range(offset, length));
  for (std::uint64_t done = 0; done < length;) {
    Lock lock(mutex_);
    auto mapping = TRY(map_->lookup(offset + done, length - done));
    mapping.length = std::min(mapping.length, length - done);
    const auto part = slice(out, done, mapping.length);
    if (mapping.kind == Mapping::Kind::Compressed) {
      TRY(read_mapped(mapping, offset + done, part));
    } else {
      const InFlight in_flight(*this, epoch_);
      lock.native().unlock();
      TRY(read_mapped(mapping, offset + done, part));
    }
    done += mapping.length;
  }
  return {};
}

/// The same while the mutex is held: for the old bytes around a write.
Status Qcow2Disk::read_locked(std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    auto mapping = TRY(map_->lookup(offset, out.size()));
    mapping.length = std::min<std::uint64_t>(mapping.length, out.size());
    const iovec part{out.data(), mapping.length};
    TRY(read_mapped(mapping, offset, std::span(&part, 1)));
    offset += mapping.length;
    out = out.subspan(mapping.length);
  }
  return {};
}

/// May the run be overwritten where it lies?
Result<bool> Qcow2Disk::in_place(const Mapping& mapping) {
  if (mapping.kind != Mapping::Kind::Data) return false;
  if (mapping.copied) return true;
  const std::uint64_t last = (mapping.host_offset + mapping.length - 1) >> facts_.cluster_bits;
  for (std::uint64_t c = mapping.host_offset >> facts_.cluster_bits; c <= last; ++c) {
    const std::uint16_t count = TRY(refcounts_->get(c));
    if (count == 0) return corrupt("a cluster in use is marked free");
    if (count != 1) return false;
  }
  return true;
}

Status Qcow2Disk::write(std::uint64_t offset, std::span<const iovec> in) {
  const std::uint64_t length = total_length(in);
  TRY(check_writable());
  TRY(check_range(offset, length));
  for (std::uint64_t done = 0; done < length;) {
    Lock lock(mutex_);
    const auto mapping = TRY(map_->lookup(offset + done, length - done));
    if (TRY(in_place(mapping))) {
      const InFlight in_flight(*this, epoch_);
      lock.native().unlock();
      const auto part = slice(in, done, mapping.length);
      TRY(write_vectored(fd_.get(), mapping.host_offset, part));
      done += mapping.length;
    } else {
      done += TRY(write_new(offset + done, slice(in, done, length - done)));
    }
  }
  return {};
}

/// How far from `offset` no cluster can be written in place, within one L2 table.
Result<std::uint64_t> Qcow2Disk::new_run_length(std::uint64_t offset, std::uint64_t length) {
  length = std::min({length, map_->to_table_end(offset), kMaxRunBytes});
  std::uint64_t run = 0;
  while (run < length) {
    const auto mapping = TRY(map_->lookup(offset + run, length - run));
    if (TRY(in_place(mapping))) break;
    run += mapping.length;
  }
  return std::min(run, length);
}

Result<std::uint64_t> Qcow2Disk::write_new(std::uint64_t offset, std::span<const iovec> in) {
  if (map_->crowded()) TRY(write_back());
  const std::uint64_t wanted = TRY(new_run_length(offset, total_length(in)));
  const std::uint64_t inside = offset % cluster_size();
  const std::uint64_t clusters = (inside + wanted + cluster_size() - 1) >> facts_.cluster_bits;
  const auto run = TRY(refcounts_->allocate(clusters));
  const std::uint64_t length = std::min(wanted, (run.count << facts_.cluster_bits) - inside);
  auto written = write_run(offset, slice(in, 0, length), run);
  if (!written.ok()) {
    for (std::uint64_t i = 0; i < run.count; ++i) TRY(refcounts_->release(run.cluster + i));
    return std::move(written).error();
  }
  TRY(map_->set_data(offset - inside, run.cluster, run.count));
  for (const std::uint64_t cluster : map_->take_replaced()) replaced_now_.push_back(cluster);
  return length;
}

/// One write of whole clusters: the old bytes before, the new ones, the old bytes after.
Status Qcow2Disk::write_run(std::uint64_t offset, std::span<const iovec> in,
                            Qcow2Refcounts::Run run) {
  const std::uint64_t length = total_length(in);
  const std::uint64_t inside = offset % cluster_size();
  const std::uint64_t end = offset + length;
  const std::uint64_t run_end = offset - inside + (run.count << facts_.cluster_bits);
  std::vector<std::byte> before(inside);
  std::vector<std::byte> after(run_end - end);
  TRY(read_locked(offset - inside, before));
  if (end < size_)
    TRY(read_locked(end,
                    std::span(after).first(std::min<std::uint64_t>(after.size(), size_ - end))));
  std::vector<iovec> ranges;
  if (!before.empty()) ranges.push_back({before.data(), before.size()});
  ranges.insert(ranges.end(), in.begin(), in.end());
  if (!after.empty()) ranges.push_back({after.data(), after.size()});
  return write_vectored(fd_.get(), run.cluster << facts_.cluster_bits, ranges);
}

/// Zeroes a piece of one cluster.
Status Qcow2Disk::zero_part(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return {};
  {
    Lock lock(mutex_);
    const auto mapping = TRY(map_->lookup(offset, length));
    const bool nothing_below = backing_ == nullptr || offset >= backing_->size_bytes();
    if (mapping.kind == Mapping::Kind::Zero ||
        (mapping.kind == Mapping::Kind::Unallocated && nothing_below))
      return {};
  }
  const std::vector<std::byte> zeroes(length);
  return write_bytes(offset, zeroes);
}

/// Makes whole clusters read as zeroes by their entries alone.
Status Qcow2Disk::zero_clusters(std::uint64_t offset, std::uint64_t length) {
  Lock lock(mutex_);
  for (const std::uint64_t end = offset + length; offset < end;) {
    if (map_->crowded()) TRY(write_back());
    const auto mapping = TRY(map_->lookup(offset, end - offset));
    const bool below = backing_ != nullptr && offset < backing_->size_bytes();
    const bool done = mapping.kind == Mapping::Kind::Zero ||
                      (mapping.kind == Mapping::Kind::Unallocated && !below);
    const auto kind = below ? Qcow2Map::Empty::Zero : Qcow2Map::Empty::Unallocated;
    const std::uint64_t stop = offset + std::min(mapping.length, end - offset);
    if (done)
      offset = stop;
    else
      for (; offset < stop; offset += cluster_size()) TRY(map_->set_empty(offset, kind));
    for (const std::uint64_t cluster : map_->take_replaced()) replaced_now_.push_back(cluster);
  }
  return {};
}

Status Qcow2Disk::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap /*unmap*/) {
  TRY(check_writable());
  TRY(check_range(offset, length));
  const std::uint64_t end = offset + length;
  const std::uint64_t first = (offset + cluster_size() - 1) / cluster_size() * cluster_size();
  // The last cluster of the disk may be cut short: all of it that exists counts as whole.
  const std::uint64_t last = end == size_ ? end : end / cluster_size() * cluster_size();
  if (first >= last) {
    while (offset < end) {  // at most two pieces
      const std::uint64_t piece = std::min(end - offset, cluster_size() - offset % cluster_size());
      TRY(zero_part(offset, piece));
      offset += piece;
    }
    return {};
  }
  TRY(zero_part(offset, first - offset));
  TRY(zero_part(last, end - last));
  if (facts_.version >= 3 || backing_ == nullptr) return zero_clusters(first, last - first);
  for (std::uint64_t at = first; at < last; at += cluster_size())  // version 2 has no zero entries
    TRY(zero_part(at, std::min(cluster_size(), last - at)));
  return {};
}

Status Qcow2Disk::discard(std::uint64_t offset, std::uint64_t length) {
  TRY(check_writable());
  TRY(check_range(offset, length));
  if (facts_.version < 3 && backing_ != nullptr) return {};  // would bring old bytes back
  const std::uint64_t end = offset + length;
  const std::uint64_t first = (offset + cluster_size() - 1) / cluster_size() * cluster_size();
  const std::uint64_t last = end == size_ ? end : end / cluster_size() * cluster_size();
  return first < last ? zero_clusters(first, last - first) : Status{};
}

/// Refcounts (and with them all data), then L2, then L1; then what those no longer name.
Status Qcow2Disk::write_back() {
  if (refcounts_->dirty()) TRY(refcounts_->write_back());
  TRY(map_->write_back());
  return release_replaced();
}

/// Releases what was replaced before the last epoch began, once all requests of that time have
/// ended.
Status Qcow2Disk::release_replaced() {
  if (active_[(epoch_ + 1) % 2] != 0) return {};
  for (const std::uint64_t cluster : std::exchange(replaced_before_, {}))
    TRY(refcounts_->release(cluster));
  replaced_before_ = std::exchange(replaced_now_, {});
  ++epoch_;
  return {};
}

Status Qcow2Disk::flush() {
  if (read_only()) return {};
  {
    Lock lock(mutex_);
    if (dirty() || !replaced_now_.empty() || !replaced_before_.empty()) TRY(write_back());
  }
  return sync_data(fd_.get());
}

Status Qcow2Disk::grow(std::uint64_t size_bytes) {
  TRY(check_writable());
  const std::uint64_t old = size_;
  if (size_bytes < old)
    return Error{Code::InvalidArgument, "DISK_SHRINK", "a disk cannot be made smaller"};
  if (size_bytes % kSectorBytes != 0)
    return Error{Code::InvalidArgument, "DISK_SIZE", "the size is no multiple of 512"};
  {
    Lock lock(mutex_);
    TRY(write_back());
    TRY(map_->grow(size_bytes));
    for (const std::uint64_t cluster : map_->take_replaced()) replaced_now_.push_back(cluster);
  }
  size_ = size_bytes;
  // A longer backing disk must not show where the disk used to end.
  const std::uint64_t below = backing_ ? std::min(backing_->size_bytes(), size_bytes) : 0;
  if (below > old) TRY(write_zeroes(old, below - old, Unmap::Yes));
  return flush();
}

Result<Extent> Qcow2Disk::extent_at(std::uint64_t offset, std::uint64_t limit) {
  TRY(check_range(offset, limit));
  Lock lock(mutex_);
  const auto mapping = TRY(map_->lookup(offset, limit));
  Extent extent{.length = std::min(mapping.length, limit)};
  if (mapping.kind == Mapping::Kind::Zero) extent.kind = Extent::Kind::Zero;
  if (mapping.kind == Mapping::Kind::Unallocated) extent.kind = Extent::Kind::Backing;
  return extent;
}

}  // namespace reeve::core
