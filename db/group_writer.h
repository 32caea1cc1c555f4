// db/group_writer.h - the Writer of the daemon: one thread, one connection, one fsync per group.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "db/commit_group.h"
#include "db/sqlite/database.h"
#include "db/writer.h"

namespace reeve::db {

class GroupWriter final : public Writer {
 public:
  /// Takes the connection over; its thread is called "db-writer". `on_commit` runs on that thread.
  GroupWriter(std::unique_ptr<Database> database, OnCommit on_commit);
  ~GroupWriter() override;  ///< stop()
  GroupWriter(const GroupWriter&) = delete;
  GroupWriter& operator=(const GroupWriter&) = delete;

  void submit(Work work, Done done) override;

  /// Refuses writes from now on with FailedPrecondition/DB_READ_ONLY naming `why`. Any thread.
  void set_read_only(std::string why);
  bool is_read_only() const { return read_only_.load(); }

  /// Commits what is queued, joins the thread and hands the connection back. Later work is refused
  /// with Cancelled/DB_CLOSED. Not from the writer's thread. Null when stopped before.
  std::unique_ptr<Database> stop();

  struct Counters {
    std::int64_t works = 0;
    std::int64_t commits = 0;
  };
  Counters counters() const { return {works_.load(), commits_.load()}; }

 private:
  void run();

  std::atomic<std::int64_t> works_{0}, commits_{0};
  std::atomic<bool> read_only_{false};
  Mutex mutex_;
  CondVar wake_;
  std::vector<CommitGroup::Entry> queue_ REEVE_GUARDED_BY(mutex_);
  std::string read_only_reason_ REEVE_GUARDED_BY(mutex_);
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::unique_ptr<Database> database_;  // the thread's while it runs
  OnCommit on_commit_;
  std::thread thread_;
};

}  // namespace reeve::db
