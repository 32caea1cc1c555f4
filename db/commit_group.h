// db/commit_group.h - runs a batch of submitted work as one transaction. Shared by the two writers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/sqlite/database.h"
#include "db/writer.h"

namespace reeve::db {

class CommitGroup {
 public:
  struct Entry {
    Writer::Work work{};
    Writer::Done done{};
  };

  /// Runs `entries` in order in one transaction, commits, then calls `on_commit` and every done.
  /// Returns the error of the transaction itself, if it had one: the caller goes read-only when
  /// must_stop_writing() says so.
  static Status run(Database& database, std::vector<Entry>& entries,
                    const Writer::OnCommit& on_commit);
  /// Answers every entry with `error`, running nothing.
  static void refuse(std::vector<Entry>& entries, const Error& error);

  /// Damage, or a disk that failed an fsync: what reached it is unknown, and only a restart, which
  /// reads the WAL again, finds out.
  static bool must_stop_writing(const Status& outcome);
  static Error read_only_error(std::string_view why);
};

}  // namespace reeve::db
