// db/repo/lock_repo.h - table `job_lock`: what a live job has taken for itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/job.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

class LockReader {
 public:
  explicit LockReader(ReadTransaction& tx) : read_(tx) {}

  Result<std::vector<JobLock>> of_job(std::string_view job_uid);
  /// Every lock, oldest first.
  Result<std::vector<JobLock>> all();
  /// Nothing when it is free.
  Result<std::optional<JobLock>> find(std::string_view resource);

 private:
  ReadTransaction& read_;
};

class LockRepo : public LockReader {
 public:
  explicit LockRepo(Transaction& tx) : LockReader(tx), tx_(tx) {}

  /// All of `resources` or none; those the job has already stay its own. Aborted/LOCKED names the
  /// first conflict: owner job, its kind and how long it has held the lock (metadata "job",
  /// "resource", "held_seconds").
  Status acquire(const std::vector<std::string>& resources, std::string_view job_uid, WallTime now);
  /// Everything the job holds; a no-op when nothing.
  Status release_all(std::string_view job_uid);
  Status release(std::string_view resource, std::string_view job_uid);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
