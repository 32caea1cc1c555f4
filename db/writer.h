// db/writer.h - the single way to change the database.
//
// Work is queued and run in order on one connection. All work that waits shares one transaction and
// one fsync (group commit); each runs in a savepoint of its own, so one that fails is undone alone.
#pragma once

#include <cstdint>
#include <functional>

#include "base/status.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

class Writer {
 public:
  /// Changes rows through repositories. Must not block, submit, or keep the Transaction.
  using Work = std::function<Status(Transaction&)>;
  /// Called exactly once: with the work's own error; with the commit's error (then nothing of the
  /// group is visible); or with success, when it is durable. `revision` is the global revision as
  /// of this work: a watcher that has seen it has seen this change.
  using Done = std::function<void(Status, std::int64_t revision)>;
  /// Revisions first..last became visible. Called once per commit that made any, before the dones.
  using OnCommit = std::function<void(std::int64_t first, std::int64_t last)>;

  virtual ~Writer() = default;

  /// Any thread. `done` comes from the writer's thread: post to your loop in there; never blocks.
  /// Errors of the writer itself: FailedPrecondition/DB_READ_ONLY (the database was found damaged),
  /// Cancelled/DB_CLOSED (the writer stopped first), and those of db/sqlite/error.h.
  virtual void submit(Work work, Done done) = 0;
};

}  // namespace reeve::db
