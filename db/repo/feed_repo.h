// db/repo/feed_repo.h - table `object_version`: the change feed, the history, and the global
// revision.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/version.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

/// The versions of these kinds, which are at least one.
AnyOf any_of_kinds(const std::vector<ObjectKind>& kinds);

class FeedReader {
 public:
  explicit FeedReader(ReadTransaction& tx) : read_(tx) {}

  /// The last revision given out; 0 in an empty database.
  Result<std::int64_t> revision();
  /// Versions after this revision are complete: a watcher that has seen it may go on from it.
  Result<std::int64_t> floor();
  /// Versions after `from_revision`, oldest first, at most `limit`; of `kinds` only, all when
  /// empty. OutOfRange/REVISION_COMPACTED (metadata "floor") when versions in between are gone:
  /// read the objects again, then go on from revision(). OutOfRange/REVISION_UNKNOWN when it was
  /// never given out.
  Result<std::vector<Version>> versions(std::int64_t from_revision,
                                        const std::vector<ObjectKind>& kinds, int limit);
  /// Versions of one object, newest first, before `before_revision` (0: from the newest).
  Result<std::vector<Version>> history(std::string_view uid, std::int64_t before_revision,
                                       int limit);
  /// Versions after `from_revision` that match, by revision, which is the value of a page's key.
  /// Errors as in versions().
  Result<std::vector<Version>> list(std::int64_t from_revision, const Filter& filter,
                                    const Page& page);
  /// The object as it was at `revision`. NotFound/NO_VERSION when it did not exist then,
  /// OutOfRange/ REVISION_COMPACTED below the floor.
  Result<Version> as_of(std::string_view uid, std::int64_t revision);
  /// Every object of a kind as it was at `revision`, by uid, after `after_uid`, at most `limit`.
  Result<std::vector<Version>> list_as_of(ObjectKind kind, std::int64_t revision,
                                          std::string_view after_uid, int limit);

 private:
  Status check_range(std::int64_t revision);
  ReadTransaction& read_;
};

class FeedRepo : public FeedReader {
 public:
  explicit FeedRepo(Transaction& tx) : FeedReader(tx), tx_(tx) {}

  /// The revision that the next append() will give out.
  Result<std::int64_t> next_revision();
  /// The one function that makes a version: takes the next global revision, stores the row.
  Result<std::int64_t> append(const Version& version);

  /// Retention. Moves the floor to `floor` (never back), then deletes versions that nothing at or
  /// after the floor needs, looking at no more than `max_rows` after `cursor`. Returns the cursor
  /// to go on with in another transaction, or 0 when done. Every live object keeps its newest
  /// version.
  Result<std::int64_t> compact(std::int64_t floor, std::int64_t cursor, int max_rows);
  /// The newest revision older than `time`, as a floor for compact().
  Result<std::int64_t> revision_before(WallTime time);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
