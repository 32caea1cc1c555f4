#include "hypervisor_core/block/qcow2_refcounts.h"

#include <algorithm>
#include <memory>

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "hypervisor_core/block/qcow2_format.h"
#include "hypervisor_core/block/qcow2_io.h"

namespace reeve::core {
namespace {

constexpr std::size_t kKeepBlocks = 16;  // clean ones, so that memory stays bounded on large files

Error overlap() {
  return {Code::DataLoss, "QCOW2_OVERLAP", "two tables of the image claim the same cluster"};
}

}  // namespace

Status MetadataClusters::add(std::uint64_t cluster, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), cluster + i);
    if (at != sorted_.end() && *at == cluster + i) return overlap();
    sorted_.insert(at, cluster + i);
  }
  return {};
}

Status MetadataClusters::add_all(std::vector<std::uint64_t> clusters) {
  sorted_.insert(sorted_.end(), clusters.begin(), clusters.end());
  std::sort(sorted_.begin(), sorted_.end());
  if (std::adjacent_find(sorted_.begin(), sorted_.end()) != sorted_.end()) return overlap();
  return {};
}

void MetadataClusters::remove(std::uint64_t cluster) {
  const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), cluster);
  if (at != sorted_.end() && *at == cluster) sorted_.erase(at);
}

bool MetadataClusters::contains(std::uint64_t cluster) const {
  return std::binary_search(sorted_.begin(), sorted_.end(), cluster);
}

Qcow2Refcounts::Qcow2Refcounts(int fd, const Qcow2Facts& facts, MetadataClusters& metadata)
    : fd_(fd),
      cluster_bits_(facts.cluster_bits),
      cluster_size_(facts.cluster_size()),
      per_block_(qcow2::refcounts_per_block(facts.cluster_bits)),
      metadata_(metadata),
      table_offset_(facts.refcount_table_offset),
      table_clusters_(facts.refcount_table_clusters),
      end_((facts.file_size + cluster_size_ - 1) >> cluster_bits_) {
  scan_end_ = end_;
}

Result<std::unique_ptr<Qcow2Refcounts>> Qcow2Refcounts::load(int fd, const Qcow2Facts& facts,
                                                             MetadataClusters& metadata) {
  std::unique_ptr<Qcow2Refcounts> counts(new Qcow2Refcounts(fd, facts, metadata));
  counts->table_ = TRY(
      read_table64(fd, counts->table_offset_, counts->table_clusters_ * counts->cluster_size_ / 8));
  std::vector<std::uint64_t> clusters;
  for (std::uint64_t i = 0; i < counts->table_clusters_; ++i)
    clusters.push_back((counts->table_offset_ >> counts->cluster_bits_) + i);
  for (const std::uint64_t entry : counts->table_) {
    if (entry == 0) continue;
    if (entry % counts->cluster_size_ != 0 || entry >= facts.file_size)
      return corrupt("a refcount block lies outside the file");
    clusters.push_back(entry >> counts->cluster_bits_);
  }
  TRY(metadata.add_all(std::move(clusters)));
  return counts;
}

Result<Qcow2Refcounts::Block*> Qcow2Refcounts::block(std::uint64_t index) {
  if (const auto found = blocks_.find(index); found != blocks_.end()) return &found->second;
  if (index >= table_.size() || table_[index] == 0) return static_cast<Block*>(nullptr);
  drop_clean_blocks();
  return &blocks_.emplace(index, TRY(read_table16(fd_, table_[index], per_block_))).first->second;
}

void Qcow2Refcounts::drop_clean_blocks() {
  if (blocks_.size() < kKeepBlocks) return;
  std::erase_if(blocks_,
                [this](const auto& entry) { return !dirty_blocks_.contains(entry.first); });
}

Result<std::uint16_t> Qcow2Refcounts::get(std::uint64_t cluster) {
  const Block* counts = TRY(block(cluster / per_block_));
  if (counts == nullptr) return std::uint16_t{0};
  return (*counts)[cluster % per_block_];
}

Status Qcow2Refcounts::set(std::uint64_t cluster, std::uint16_t value) {
  const std::uint64_t index = cluster / per_block_;
  TRY(ensure_block(index));
  Block* counts = TRY(block(index));
  (*counts)[cluster % per_block_] = value;
  dirty_blocks_.insert(index);
  return {};
}

/// A block that is missing is put at the end of the file, where it may well count itself.
Status Qcow2Refcounts::ensure_block(std::uint64_t index) {
  if (index >= table_.size()) TRY(grow_table(index + 1));
  if (table_[index] != 0) return {};
  const std::uint64_t home = end_++;
  TRY(metadata_.add(home));
  table_[index] = home << cluster_bits_;
  dirty_entries_.insert(index);
  blocks_.emplace(index, Block(per_block_, 0));
  dirty_blocks_.insert(index);
  return set(home, 1);
}

/// Moves the refcount table to a larger place at the end of the file. Rare, so it is made durable
/// at once: blocks, then the table, then the header that names it. The old place is free
/// afterwards.
Status Qcow2Refcounts::grow_table(std::uint64_t entries) {
  const std::uint64_t old_cluster = table_offset_ >> cluster_bits_;
  const std::uint64_t old_count = table_clusters_;
  const std::uint64_t wanted = std::max<std::uint64_t>(entries + 1, table_.size() * 3 / 2);
  const std::uint64_t clusters = (wanted * 8 + cluster_size_ - 1) >> cluster_bits_;
  if ((clusters << cluster_bits_) > kQcow2MaxRefcountTableBytes)
    return Error{Code::ResourceExhausted, "QCOW2_FULL", "the image cannot grow any further"};
  const std::uint64_t home = end_;
  end_ += clusters;
  TRY(metadata_.add(home, clusters));
  table_.resize(clusters * cluster_size_ / 8);
  for (std::uint64_t i = 0; i < clusters; ++i) TRY(set(home + i, 1));
  table_offset_ = home << cluster_bits_;
  table_clusters_ = clusters;
  for (std::uint64_t i = 0; i < table_.size(); ++i) dirty_entries_.insert(i);
  TRY(write_back());
  TRY(write_header64(fd_, 48, table_offset_));
  TRY(write_header32(fd_, 56, static_cast<std::uint32_t>(table_clusters_)));
  TRY(sync_data(fd_));
  for (std::uint64_t i = 0; i < old_count; ++i) {
    metadata_.remove(old_cluster + i);
    TRY(release(old_cluster + i));
  }
  return {};
}

/// Collects the free clusters of one more block. False when all were seen.
Result<bool> Qcow2Refcounts::scan_next() {
  if (next_scan_ * per_block_ >= scan_end_) return false;
  const std::uint64_t first = next_scan_ * per_block_;
  const std::uint64_t last = std::min(first + per_block_, scan_end_);
  const Block* counts = TRY(block(next_scan_));
  ++next_scan_;
  if (counts == nullptr)
    return true;  // its clusters are left alone: a block costs more than it gains
  for (std::uint64_t cluster = first; cluster < last; ++cluster)
    if ((*counts)[cluster - first] == 0) {
      if (metadata_.contains(cluster)) return corrupt("a table of the image is marked free");
      free_.push_back(cluster);
    }
  return true;
}

Result<Qcow2Refcounts::Run> Qcow2Refcounts::allocate(std::uint64_t count) {
  while (free_.empty() && TRY(scan_next())) {
  }
  if (free_.empty()) return Run{TRY(allocate_contiguous(count)), count};
  Run run{free_.front(), 0};
  while (run.count < count && !free_.empty() && free_.front() == run.cluster + run.count) {
    TRY(set(free_.front(), 1));
    free_.pop_front();
    ++run.count;
  }
  return run;
}

Result<std::uint64_t> Qcow2Refcounts::allocate_contiguous(std::uint64_t count) {
  // The blocks that will count them first, because those go to the end of the file as well.
  for (;;) {
    const std::uint64_t before = end_;
    for (std::uint64_t i = before / per_block_; i <= (before + count - 1) / per_block_; ++i)
      TRY(ensure_block(i));
    if (end_ == before) break;
  }
  const std::uint64_t first = end_;
  if ((first + count) > (std::uint64_t{1} << 56) >> cluster_bits_)
    return Error{Code::ResourceExhausted, "QCOW2_FULL", "the image cannot grow any further"};
  end_ += count;
  for (std::uint64_t i = 0; i < count; ++i) TRY(set(first + i, 1));
  return first;
}

Status Qcow2Refcounts::release(std::uint64_t cluster) {
  const std::uint16_t count = TRY(get(cluster));
  if (count == 0) return corrupt("a cluster in use is marked free");
  TRY(set(cluster, static_cast<std::uint16_t>(count - 1)));
  if (count > 1 || metadata_.contains(cluster)) return {};
  free_.push_back(cluster);
  // Best effort: where the file system cannot punch, the cluster is reused all the same.
  (void)::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(cluster << cluster_bits_),
                    static_cast<off_t>(cluster_size_));
  return {};
}

Status Qcow2Refcounts::write_back() {
  for (const std::uint64_t index : dirty_blocks_)
    TRY(write_table16(fd_, table_[index], blocks_.at(index)));
  TRY(sync_data(fd_));
  dirty_blocks_.clear();
  if (dirty_entries_.empty()) return {};
  for (const std::uint64_t index : dirty_entries_)
    TRY(write_table64(fd_, table_offset_ + index * 8, std::span(table_).subspan(index, 1)));
  TRY(sync_data(fd_));
  dirty_entries_.clear();
  return {};
}

}  // namespace reeve::core
