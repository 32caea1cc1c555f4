// tests/support/fault_disk.h - a disk in memory for SQLite that is cut off, tears writes and fills
// up on demand.
//
// Each FaultDisk registers a SQLite VFS of its own; pass vfs() to db::OpenOptions or
// db::StoreOptions. What was written but not synced when the power goes may survive whole, in part,
// sector by sector, or not at all, as the seed says; so may files made or deleted without a sync.
// Cheap enough for thousands of runs: nothing touches the real disk, and a prepared Image is loaded
// by copying its bytes.
//
//   FaultDisk disk(seed);
//   disk.load(migrated_image());          // tests/support/db_image.h
//   auto store = Store::open({.path = kDatabasePath, .vfs = disk.vfs()});
//   disk.crash_after(17);                 // the 17th write, sync, truncation or deletion is the
//   last
//   ...                                   // then every call fails; close whatever is open
//   disk.restart(FaultDisk::Loss::PowerCut);
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace reeve::test {

/// Thread-safe, except that restart(), load() and image() want no call in progress.
class FaultDisk {
 public:
  enum class Loss {
    PowerCut,    ///< what was not synced is at the mercy of the seed
    KillProcess  ///< the kernel lives on: every write survives
  };
  class Content;
  /// Files by name. Pages are shared until they are written, so an image and its copies cost
  /// little.
  using Image = std::map<std::string, std::shared_ptr<const Content>>;

  explicit FaultDisk(std::uint64_t seed = 0);
  ~FaultDisk();  ///< connections must be closed
  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;

  const std::string& vfs() const;

  /// What a reader of the disk sees now, synced or not.
  Image image() const;
  /// Replaces all files; their content counts as synced.
  void load(const Image& image);

  /// Writes, syncs, truncations and deletions so far.
  std::int64_t operations() const;
  /// From the n-th operation on (1 = the next one, which still happens) nothing works any more.
  void crash_after(std::int64_t n);
  void crash_now();
  bool crashed() const;
  /// Ends the crash: loses what `loss` loses, drops all locks and shared memory. Connections from
  /// before stay dead and may be closed later.
  void restart(Loss loss);

  /// Total bytes of all files; writes beyond fail as on a full disk.
  void set_capacity(std::int64_t bytes);
  void clear_capacity();
  enum class Operation { Read, Write, Sync };
  /// Makes every such operation fail with an I/O error, or work again.
  void set_failing(Operation operation, bool failing);

  /// Overwrites synced bytes, as a bad disk would.
  void corrupt(const std::string& path, std::int64_t offset, std::string_view bytes);
  /// A file's bytes; empty when absent. put() replaces them, synced.
  std::string bytes(const std::string& path) const;
  void put(const std::string& path, std::string_view bytes);
  std::int64_t size(const std::string& path) const;
  bool exists(const std::string& path) const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace reeve::test
