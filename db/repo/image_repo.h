// db/repo/image_repo.h - rows of table `image`. Knows SQL; knows no policy.
//
// Every change makes a version (feed_repo.h) in the same transaction.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/image.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// A view over an open transaction: cheap to make, never outlives it.
class ImageReader {
 public:
  explicit ImageReader(ReadTransaction& tx) : read_(tx) {}

  /// NotFound/IMAGE_NOT_FOUND when absent.
  Result<Image> get(std::string_view uid);
  /// NotFound/IMAGE_NOT_FOUND when absent.
  Result<Image> get_by_name(std::string_view name);
  /// At most page.limit rows after page.after that match; key_of() (db/model/object.h) continues.
  Result<std::vector<Image>> list(const Filter& filter, ObjectOrder order, const Page& page);

 private:
  ReadTransaction& read_;
};

/// Writes set etag, revision and times, and return the row as stored.
class ImageRepo : public ImageReader {
 public:
  explicit ImageRepo(Transaction& tx) : ImageReader(tx), tx_(tx) {}

  /// AlreadyExists/DB_UNIQUE when the uid or name is taken.
  Result<Image> insert(Image row, const Change& change);
  /// Writes intent: name, kind, host_uid and spec. Leaves state and status alone.
  /// Aborted/STALE_ETAG when row.etag is not the stored one; an empty etag writes unconditionally.
  Result<Image> update(Image row, const Change& change);
  /// Writes what was observed: format, state, size_bytes, sha256, status and
  /// status_observed_at. Leaves intent and etag alone.
  /// When nothing but status_observed_at differs, that is stored and no version is made.
  Result<Image> update_status(const Image& row, const Change& change);
  /// The last version is marked deleted. Aborted/STALE_ETAG as in update; FailedPrecondition/
  /// DB_FOREIGN_KEY while other rows refer to it.
  Status remove(std::string_view uid, std::string_view etag, const Change& change);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
