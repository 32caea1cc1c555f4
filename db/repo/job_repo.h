// db/repo/job_repo.h - tables `job` and `job_step` (the journal). Knows SQL; knows no policy.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/job.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {

class JobReader {
 public:
  explicit JobReader(ReadTransaction& tx) : read_(tx) {}

  /// NotFound/JOB_NOT_FOUND when absent.
  Result<Job> get(std::string_view uid);
  /// At most page.limit jobs after page.after that match, by create time (key_of() of
  /// db/model/object.h continues); page.descending for the newest first.
  Result<std::vector<Job>> list(const Filter& filter, const Page& page);
  /// Every job that is not finished, oldest first: what a starting server takes up again.
  Result<std::vector<Job>> active();
  /// The journal of one job, by ordinal.
  Result<std::vector<JobStep>> steps(std::string_view job_uid);

 private:
  ReadTransaction& read_;
};

class JobRepo : public JobReader {
 public:
  explicit JobRepo(Transaction& tx) : JobReader(tx), tx_(tx) {}

  /// Announced. AlreadyExists/DB_UNIQUE when the uid is taken.
  Result<Job> insert(Job row, const Change& change);
  /// Writes state, target_name, host_uid, cancel_requested, times, error and doc. Announced or not.
  /// NotFound/JOB_NOT_FOUND; FailedPrecondition/JOB_FINISHED when it has finished before.
  Result<Job> update(Job row, const Change& change, Announce announce);
  /// Writes the journal row (job_uid, ordinal), new or again.
  Status put_step(const JobStep& step);
  /// Forgets jobs that finished before `time`, with their journal; at most `limit`. The number
  /// gone.
  Result<int> remove_finished_before(WallTime time, int limit);

 private:
  Transaction& tx_;
};

}  // namespace reeve::db
