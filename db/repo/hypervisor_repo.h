// db/repo/hypervisor_repo.h - rows of table `hypervisor`. Knows SQL; knows no policy.
//
// Every change makes a version (feed_repo.h) in the same transaction.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/hypervisor.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// A view over an open transaction: cheap to make, never outlives it.
class HypervisorReader {
 public:
  explicit HypervisorReader(ReadTransaction& tx) : read_(tx) {}

  /// NotFound/HYPERVISOR_NOT_FOUND when absent.
  Result<Hypervisor> get(std::string_view uid);
  /// Names are unique on a host only. NotFound/HYPERVISOR_NOT_FOUND.
  Result<Hypervisor> get_by_name(std::string_view host_uid, std::string_view name);
  /// By name. At most page.limit rows after page.after that match; key_of() (db/model/object.h)
  /// continues.
  Result<std::vector<Hypervisor>> list(const Filter& filter, const Page& page);

 private:
  ReadTransaction& read_;
};

/// Writes set etag, revision and times, and return the row as stored.
class HypervisorRepo : public HypervisorReader {
 public:
  explicit HypervisorRepo(Transaction& tx) : HypervisorReader(tx), tx_(tx) {}

  /// AlreadyExists/DB_UNIQUE when the uid or name is taken.
  Result<Hypervisor> insert(Hypervisor row, const Change& change);
  /// Writes intent: name, kind and spec. Leaves state and status alone.
  /// Aborted/STALE_ETAG when row.etag is not the stored one; an empty etag writes unconditionally.
  Result<Hypervisor> update(Hypervisor row, const Change& change);
  /// Writes what was observed: state, status and status_observed_at. Leaves intent and etag alone.
  /// When nothing but status_observed_at differs, that is stored and no version is made.
  Result<Hypervisor> update_status(const Hypervisor& row, const Change& change);
  /// The last version is marked deleted. Aborted/STALE_ETAG as in update; FailedPrecondition/
  /// DB_FOREIGN_KEY while other rows refer to it.
  Status remove(std::string_view uid, std::string_view etag, const Change& change);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
