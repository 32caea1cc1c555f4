#include "hypervisor_core/block/qcow2_map.h"

#include <algorithm>

#include "hypervisor_core/block/qcow2_format.h"
#include "hypervisor_core/block/qcow2_io.h"

namespace reeve::core {
namespace {

constexpr std::size_t kCacheBytes = 4u << 20;
constexpr std::uint64_t kEntriesPerSector = 512 / 8;

}  // namespace

Qcow2Map::Qcow2Map(int fd, const Qcow2Facts& facts, Qcow2Refcounts& refcounts,
                   MetadataClusters& metadata)
    : fd_(fd),
      version_(facts.version),
      cluster_bits_(facts.cluster_bits),
      cluster_size_(facts.cluster_size()),
      max_tables_(std::max<std::size_t>(kCacheBytes >> facts.cluster_bits, 4)),
      refcounts_(refcounts),
      metadata_(metadata),
      l1_offset_(facts.l1_offset) {}

std::uint64_t Qcow2Map::l2_reach() const {
  return qcow2::l1_reach(cluster_bits_);
}

Result<std::unique_ptr<Qcow2Map>> Qcow2Map::load(int fd, const Qcow2Facts& facts,
                                                 Qcow2Refcounts& refcounts,
                                                 MetadataClusters& metadata) {
  std::unique_ptr<Qcow2Map> map(new Qcow2Map(fd, facts, refcounts, metadata));
  map->l1_ = TRY(read_table64(fd, facts.l1_offset, facts.l1_entries));
  std::vector<std::uint64_t> clusters{0};  // the header
  for (std::uint64_t at = 0; at < std::uint64_t{facts.l1_entries} * 8; at += map->cluster_size_)
    clusters.push_back((facts.l1_offset + at) >> map->cluster_bits_);
  for (const std::uint64_t entry : map->l1_) {
    const std::uint64_t offset = entry & qcow2::kOffsetMask;
    if ((entry & ~(qcow2::kOffsetMask | qcow2::kCopied)) != 0 || offset % map->cluster_size_ != 0 ||
        (offset != 0 && offset >= facts.file_size))
      return corrupt("an L1 entry of the image names no cluster of it");
    if (offset != 0) clusters.push_back(offset >> map->cluster_bits_);
  }
  TRY(metadata.add_all(std::move(clusters)));
  return map;
}

/// The table, or null where none was allocated.
Result<Qcow2Map::Table*> Qcow2Map::table(std::uint64_t l1_index) {
  if (l1_index >= l1_.size()) return corrupt("an offset behind the L1 table");
  const auto found = tables_.find(l1_index);
  if (found != tables_.end()) {
    found->second.last_use = ++clock_;
    return &found->second;
  }
  const std::uint64_t offset = l1_[l1_index] & qcow2::kOffsetMask;
  if (offset == 0) return static_cast<Table*>(nullptr);
  evict();
  Table fresh{.entries = TRY(read_table64(fd_, offset, qcow2::l2_entries(cluster_bits_))),
              .last_use = ++clock_};
  return &tables_.emplace(l1_index, std::move(fresh)).first->second;
}

/// Keeps the cache within its size as far as clean tables allow.
void Qcow2Map::evict() {
  while (tables_.size() >= max_tables_) {
    auto oldest = tables_.end();
    for (auto it = tables_.begin(); it != tables_.end(); ++it)
      if (!dirty_tables_.contains(it->first) &&
          (oldest == tables_.end() || it->second.last_use < oldest->second.last_use))
        oldest = it;
    if (oldest == tables_.end()) return;
    tables_.erase(oldest);
  }
}

/// The table, a new one where there was none. Without internal snapshots no table is shared.
Result<Qcow2Map::Table*> Qcow2Map::table_for_write(std::uint64_t l1_index) {
  if (Table* present = TRY(table(l1_index))) {
    const std::uint64_t home = (l1_[l1_index] & qcow2::kOffsetMask) >> cluster_bits_;
    if ((l1_[l1_index] & qcow2::kCopied) || TRY(refcounts_.get(home)) == 1) return present;
    return corrupt("an L2 table in use has an impossible refcount");
  }
  const auto run = TRY(refcounts_.allocate(1));
  TRY(metadata_.add(run.cluster));
  evict();
  Table& fresh = tables_[l1_index];
  fresh.entries.assign(qcow2::l2_entries(cluster_bits_), 0);
  fresh.last_use = ++clock_;
  fresh.dirty_to = fresh.entries.size();
  dirty_tables_.insert(l1_index);
  l1_[l1_index] = (run.cluster << cluster_bits_) | qcow2::kCopied;
  dirty_l1_.insert(l1_index);
  return &fresh;
}

Result<Mapping> Qcow2Map::decode_compressed(std::uint64_t entry) const {
  const std::uint32_t sectors_shift = 62 - (cluster_bits_ - 8);
  const std::uint64_t offset = entry & ((std::uint64_t{1} << sectors_shift) - 1);
  const std::uint64_t sectors = (entry & ~(qcow2::kCompressed | qcow2::kCopied)) >> sectors_shift;
  Mapping mapping{.kind = Mapping::Kind::Compressed, .host_offset = offset};
  mapping.host_length = (sectors + 1) * 512 - offset % 512;
  if (offset < cluster_size_ || (offset >> cluster_bits_) >= refcounts_.end())
    return corrupt("a compressed cluster lies outside the image");
  const std::uint64_t last = (offset + mapping.host_length - 1) >> cluster_bits_;
  for (std::uint64_t c = offset >> cluster_bits_; c <= last; ++c)
    if (metadata_.contains(c)) return corrupt("a compressed cluster lies on a table of the image");
  return mapping;
}

Result<Mapping> Qcow2Map::decode(std::uint64_t entry) const {
  if (entry & qcow2::kCompressed) return decode_compressed(entry);
  const std::uint64_t offset = entry & qcow2::kOffsetMask;
  const std::uint64_t known =
      qcow2::kOffsetMask | qcow2::kCopied | (version_ >= 3 ? qcow2::kZero : 0);
  if ((entry & ~known) != 0 || offset % cluster_size_ != 0 ||
      (offset >> cluster_bits_) >= refcounts_.end())
    return corrupt("an L2 entry of the image names no cluster of it");
  Mapping mapping{.host_offset = offset, .copied = (entry & qcow2::kCopied) != 0};
  if (offset != 0 && metadata_.contains(offset >> cluster_bits_))
    return corrupt("an L2 entry of the image names one of its tables");
  if (entry & qcow2::kZero)
    mapping.kind = Mapping::Kind::Zero;
  else
    mapping.kind = offset != 0 ? Mapping::Kind::Data : Mapping::Kind::Unallocated;
  return mapping;
}

Result<Mapping> Qcow2Map::lookup(std::uint64_t offset, std::uint64_t limit) {
  limit = std::min(limit, to_table_end(offset));
  const Table* l2 = TRY(table(offset / l2_reach()));
  if (l2 == nullptr) return Mapping{.length = limit};
  const std::uint64_t first = offset % l2_reach() >> cluster_bits_;
  const std::uint64_t inside = offset % cluster_size_;
  Mapping run = TRY(decode(l2->entries[first]));
  run.length = cluster_size_ - inside;
  if (run.kind == Mapping::Kind::Compressed) return run;
  for (std::uint64_t i = first + 1; run.length < limit && i < l2->entries.size(); ++i) {
    const auto next = TRY(decode(l2->entries[i]));
    const bool follows = next.kind == run.kind && next.copied == run.copied &&
                         (run.kind != Mapping::Kind::Data ||
                          next.host_offset == run.host_offset + ((i - first) << cluster_bits_));
    if (!follows) break;
    run.length += cluster_size_;
  }
  run.length = std::min(run.length, limit);
  if (run.kind == Mapping::Kind::Data) run.host_offset += inside;
  return run;
}

/// Writes one L2 entry and remembers the clusters that the old one named.
Status Qcow2Map::replace(std::uint64_t offset, std::uint64_t entry) {
  const std::uint64_t l1_index = offset / l2_reach();
  const std::uint64_t index = offset % l2_reach() >> cluster_bits_;
  Table* l2 = TRY(table_for_write(l1_index));
  const auto old = TRY(decode(l2->entries[index]));
  if (old.kind == Mapping::Kind::Compressed) {
    const std::uint64_t last = (old.host_offset + old.host_length - 1) >> cluster_bits_;
    for (std::uint64_t c = old.host_offset >> cluster_bits_; c <= last; ++c) replaced_.push_back(c);
  } else if (old.host_offset != 0) {
    replaced_.push_back(old.host_offset >> cluster_bits_);
  }
  l2->entries[index] = entry;
  if (dirty_tables_.insert(l1_index).second) {
    l2->dirty_from = index;
    l2->dirty_to = index + 1;
  } else {
    l2->dirty_from = std::min(l2->dirty_from, index);
    l2->dirty_to = std::max(l2->dirty_to, index + 1);
  }
  return {};
}

Status Qcow2Map::set_data(std::uint64_t offset, std::uint64_t host_cluster, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i)
    TRY(replace(offset + (i << cluster_bits_),
                ((host_cluster + i) << cluster_bits_) | qcow2::kCopied));
  return {};
}

Status Qcow2Map::set_empty(std::uint64_t offset, Empty kind) {
  return replace(offset, kind == Empty::Zero ? qcow2::kZero : 0);
}

Status Qcow2Map::write_back() {
  if (!dirty_tables_.empty()) {
    for (const std::uint64_t index : dirty_tables_) {
      auto& l2 = tables_.at(index);
      const std::uint64_t from = l2.dirty_from / kEntriesPerSector * kEntriesPerSector;
      const std::uint64_t to = std::min<std::uint64_t>(
          (l2.dirty_to + kEntriesPerSector - 1) / kEntriesPerSector * kEntriesPerSector,
          l2.entries.size());
      TRY(write_table64(fd_, (l1_[index] & qcow2::kOffsetMask) + from * 8,
                        std::span(l2.entries).subspan(from, to - from)));
    }
    TRY(sync_data(fd_));
    dirty_tables_.clear();
  }
  if (!dirty_l1_.empty()) {
    for (const std::uint64_t index : dirty_l1_)
      TRY(write_table64(fd_, l1_offset_ + index * 8, std::span(l1_).subspan(index, 1)));
    TRY(sync_data(fd_));
    dirty_l1_.clear();
  }
  return {};
}

/// A longer copy of the L1 table, durable before the header names it.
Status Qcow2Map::move_l1(std::uint64_t entries) {
  const std::uint64_t old_cluster = l1_offset_ >> cluster_bits_;
  const std::uint64_t old_count = (l1_.size() * 8 + cluster_size_ - 1) >> cluster_bits_;
  const std::uint64_t count = (entries * 8 + cluster_size_ - 1) >> cluster_bits_;
  const std::uint64_t home = TRY(refcounts_.allocate_contiguous(count));
  TRY(metadata_.add(home, count));
  std::vector<std::uint64_t> longer = l1_;
  longer.resize(count * cluster_size_ / 8);
  TRY(write_table64(fd_, home << cluster_bits_, longer));
  TRY(refcounts_.write_back());
  longer.resize(entries);
  TRY(write_header64(fd_, 40, home << cluster_bits_));
  TRY(write_header32(fd_, 36, static_cast<std::uint32_t>(entries)));
  TRY(sync_data(fd_));
  l1_ = std::move(longer);
  l1_offset_ = home << cluster_bits_;
  for (std::uint64_t i = 0; i < old_count; ++i) {
    metadata_.remove(old_cluster + i);
    replaced_.push_back(old_cluster + i);
  }
  return {};
}

Status Qcow2Map::grow(std::uint64_t size_bytes) {
  const std::uint64_t needed = (size_bytes + l2_reach() - 1) / l2_reach();
  if (needed * 8 > kQcow2MaxL1Bytes || size_bytes > qcow2::kMaxVirtualSize)
    return Error{Code::InvalidArgument, "DISK_SIZE", "too large for clusters of this size"};
  if (needed > l1_.size()) TRY(move_l1(needed));
  TRY(write_header64(fd_, 24, size_bytes));
  return sync_data(fd_);
}

}  // namespace reeve::core
