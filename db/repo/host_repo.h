// db/repo/host_repo.h - rows of table `host`. Knows SQL; knows no policy.
//
// Every change makes a version (feed_repo.h) in the same transaction.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/host.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// A view over an open transaction: cheap to make, never outlives it.
class HostReader {
 public:
  explicit HostReader(ReadTransaction& tx) : read_(tx) {}

  /// NotFound/HOST_NOT_FOUND when absent.
  Result<Host> get(std::string_view uid);
  /// NotFound/HOST_NOT_FOUND when absent.
  Result<Host> get_by_name(std::string_view name);
  /// By the hash of the agent's key. NotFound/HOST_NOT_FOUND.
  Result<Host> get_by_key(std::string_view cert_key_sha256);
  /// At most page.limit rows after page.after that match; key_of() (db/model/object.h) continues.
  Result<std::vector<Host>> list(const Filter& filter, ObjectOrder order, const Page& page);

 private:
  ReadTransaction& read_;
};

/// Writes set etag, revision and times, and return the row as stored.
class HostRepo : public HostReader {
 public:
  explicit HostRepo(Transaction& tx) : HostReader(tx), tx_(tx) {}

  /// AlreadyExists/DB_UNIQUE when the uid or name is taken.
  Result<Host> insert(Host row, const Change& change);
  /// Writes intent: name, address, cert_key_sha256 and spec. Leaves state and status alone.
  /// Aborted/STALE_ETAG when row.etag is not the stored one; an empty etag writes unconditionally.
  Result<Host> update(Host row, const Change& change);
  /// Writes what was observed: state, status and status_observed_at. Leaves intent and etag alone.
  /// When nothing but status_observed_at differs, that is stored and no version is made.
  Result<Host> update_status(const Host& row, const Change& change);
  /// The link's bookkeeping; makes no version. NotFound/HOST_NOT_FOUND.
  Status update_link(std::string_view uid, std::int64_t epoch, std::int64_t last_seq,
                     WallTime last_seen);
  /// Writes link_features; fine when the host is gone.
  Status update_features(std::string_view uid, std::string_view features);
  /// The last version is marked deleted. Aborted/STALE_ETAG as in update; FailedPrecondition/
  /// DB_FOREIGN_KEY while other rows refer to it.
  Status remove(std::string_view uid, std::string_view etag, const Change& change);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
