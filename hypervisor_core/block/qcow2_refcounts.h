// hypervisor_core/block/qcow2_refcounts.h - which clusters of a qcow2 file are in use, and new
// ones.
//
// Changes stay in memory until write_back(). A cluster that is no longer used is not reused before
// the tables that named it have been written and every request that may still touch it has ended;
// the caller (Qcow2Disk) says when that is. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/block/qcow2_header.h"

namespace reeve::core {

/// Clusters that hold tables: guest data never goes there, whatever a lying image says.
class MetadataClusters {
 public:
  /// DataLoss/QCOW2_OVERLAP when one of them is taken.
  Status add(std::uint64_t cluster, std::uint64_t count = 1);
  /// Many at once, before anything else: sorts once.
  Status add_all(std::vector<std::uint64_t> clusters);
  void remove(std::uint64_t cluster);
  bool contains(std::uint64_t cluster) const;

 private:
  std::vector<std::uint64_t> sorted_;
};

class Qcow2Refcounts {
 public:
  /// Reads the refcount table and checks its entries. `fd` and `metadata` outlive the object.
  static Result<std::unique_ptr<Qcow2Refcounts>> load(int fd, const Qcow2Facts& facts,
                                                      MetadataClusters& metadata);

  /// `count` clusters in a row with refcount 1, or fewer when free ones lie scattered: at least
  /// one.
  struct Run {
    std::uint64_t cluster = 0;
    std::uint64_t count = 0;
  };
  Result<Run> allocate(std::uint64_t count);
  /// Exactly `count` in a row, at the end of the file.
  Result<std::uint64_t> allocate_contiguous(std::uint64_t count);
  /// One reference less. At zero the cluster is free at once and its space given back.
  Status release(std::uint64_t cluster);
  Result<std::uint16_t> get(std::uint64_t cluster);

  bool dirty() const { return !dirty_blocks_.empty() || !dirty_entries_.empty(); }
  /// Writes what changed and makes it durable (which makes everything written before durable too).
  Status write_back();

  std::uint64_t end() const { return end_; }

 private:
  Qcow2Refcounts(int fd, const Qcow2Facts& facts, MetadataClusters& metadata);
  using Block = std::vector<std::uint16_t>;

  Status set(std::uint64_t cluster, std::uint16_t value);
  Result<Block*> block(std::uint64_t index);
  Status ensure_block(std::uint64_t index);
  Status grow_table(std::uint64_t entries);
  Result<bool> scan_next();
  void drop_clean_blocks();

  const int fd_;
  const std::uint32_t cluster_bits_;
  const std::uint64_t cluster_size_;
  const std::uint64_t per_block_;
  MetadataClusters& metadata_;
  std::uint64_t table_offset_;
  std::uint64_t table_clusters_;
  std::vector<std::uint64_t> table_;
  std::unordered_map<std::uint64_t, Block> blocks_;
  std::set<std::uint64_t> dirty_blocks_;
  std::set<std::uint64_t> dirty_entries_;
  std::deque<std::uint64_t> free_;
  std::uint64_t next_scan_ = 0;  ///< refcount block to look for free clusters in
  std::uint64_t scan_end_ = 0;   ///< the file's end when it was opened: nothing unseen lies behind
  std::uint64_t end_ = 0;        ///< first cluster behind the file
};

}  // namespace reeve::core
