// hypervisor_core/block/qcow2_map.h - from guest offsets to clusters: the L1 table and cached L2
// tables.
//
// Changes stay in memory until write_back(), so that what an entry names is durable before the
// entry is. Every entry is checked against the file before it is used. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/block/qcow2_header.h"
#include "hypervisor_core/block/qcow2_refcounts.h"

namespace reeve::core {

/// What a run of guest bytes is, as its L2 entries say.
struct Mapping {
  enum class Kind : std::uint8_t { Unallocated, Zero, Data, Compressed };
  Kind kind = Kind::Unallocated;
  std::uint64_t length = 0;  ///< from the offset asked for; Compressed: to the end of the cluster
  std::uint64_t host_offset =
      0;  ///< Data: of the offset asked for; Compressed: of the compressed bytes
  std::uint64_t host_length = 0;  ///< Compressed: an upper bound
  bool copied = false;            ///< Data: the image claims a refcount of exactly one
};

class Qcow2Map {
 public:
  /// Reads the L1 table and checks every entry. All references outlive the object.
  static Result<std::unique_ptr<Qcow2Map>> load(int fd, const Qcow2Facts& facts,
                                                Qcow2Refcounts& refcounts,
                                                MetadataClusters& metadata);

  /// The run at `offset`, at most `limit` bytes; offset < virtual size.
  Result<Mapping> lookup(std::uint64_t offset, std::uint64_t limit);
  /// Points `count` clusters from `offset` (aligned, in one L2 table) at a run in the file.
  Status set_data(std::uint64_t offset, std::uint64_t host_cluster, std::uint64_t count);
  enum class Empty : std::uint8_t { Unallocated, Zero };
  Status set_empty(std::uint64_t offset, Empty kind);
  /// Clusters named by the entries that the two setters above replaced, not yet released.
  std::vector<std::uint64_t> take_replaced() { return std::exchange(replaced_, {}); }

  bool dirty() const { return !dirty_tables_.empty() || !dirty_l1_.empty(); }
  /// Writes what changed, L2 before L1, durably. Everything it names was made durable before.
  Status write_back();
  /// True when so much waits in memory that the caller should write back.
  bool crowded() const { return dirty_tables_.size() >= max_tables_ / 2; }

  /// Bytes from `offset` to the end of its L2 table's reach.
  std::uint64_t to_table_end(std::uint64_t offset) const {
    const std::uint64_t reach = l2_reach();
    return reach - offset % reach;
  }
  std::uint64_t l2_reach() const;
  /// Makes room for `size_bytes`: a longer L1 table when needed, then the header. Durable.
  Status grow(std::uint64_t size_bytes);

 private:
  Qcow2Map(int fd, const Qcow2Facts& facts, Qcow2Refcounts& refcounts, MetadataClusters& metadata);
  struct Table {
    std::vector<std::uint64_t> entries{};
    std::uint64_t dirty_from = 0, dirty_to = 0;  ///< entries to write
    std::uint64_t last_use = 0;
  };

  Result<Table*> table(std::uint64_t l1_index);
  Result<Table*> table_for_write(std::uint64_t l1_index);
  Status replace(std::uint64_t offset, std::uint64_t entry);
  Result<Mapping> decode(std::uint64_t entry) const;
  Result<Mapping> decode_compressed(std::uint64_t entry) const;
  void evict();
  Status move_l1(std::uint64_t entries);

  const int fd_;
  const std::uint32_t version_;
  const std::uint32_t cluster_bits_;
  const std::uint64_t cluster_size_;
  const std::size_t max_tables_;
  Qcow2Refcounts& refcounts_;
  MetadataClusters& metadata_;
  std::uint64_t l1_offset_;
  std::vector<std::uint64_t> l1_;
  std::unordered_map<std::uint64_t, Table> tables_;
  std::set<std::uint64_t> dirty_tables_;
  std::set<std::uint64_t> dirty_l1_;
  std::vector<std::uint64_t> replaced_;
  std::uint64_t clock_ = 0;
};

}  // namespace reeve::core
