// server/jobs/journal.h - jobs between memory and the database: stored when accepted, written
// before and after each step, loaded again after a crash.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "db/model/job.h"
#include "db/repo/audit_repo.h"
#include "db/sqlite/transaction.h"
#include "reeve/journal/v1/job_record.pb.h"
#include "server/app/caller.h"
#include "server/jobs/effects.h"
#include "server/jobs/plan.h"

namespace reeve::server {

/// A job with everything its state machine needs.
struct LoadedJob {
  db::Job row{};
  std::shared_ptr<const journal::v1::PlanRecord> plan{};  ///< never null; shared by its copies
  journal::v1::JobRecord record{};
  std::vector<db::JobStep> steps{};

  v1::Job::State state() const;
  v1::JobStep::State step_state(int index) const;
  const journal::v1::PlannedStep& planned(int index) const { return plan->steps(index); }
  int step_count() const { return plan->steps_size(); }
  /// True once a step without a way back has begun.
  bool past_return() const;
  /// True when something that has begun can be undone.
  bool has_undo() const;
};

FactMap facts_of(const db::JobStep& step);
void set_facts(db::JobStep& step, const FactMap& facts);

/// Writes what the API shows into record.view from row, steps and plan, and record into row.doc.
void refresh_view(LoadedJob& job);

/// The job of a plan: every step pending, the first one of an agent running already, so that it may
/// be sent as soon as this is durable. Nothing is written.
LoadedJob make_job(const Plan& plan, const FreshIds& ids, const Caller& caller,
                   const std::string& request_id, WallTime now);
/// The job that validate_only answers: state PLANNED, no name.
v1::Job planned_view(const Plan& plan, const Caller& caller);

/// Takes the locks, inserts job and journal, applies the begin effect. Aborted/RESOURCE_BUSY. The
/// job gets its revision.
Status store_job(db::Transaction& tx, LoadedJob& job, const std::vector<std::string>& locks,
                 const std::string& begin_effect);

/// One change of a job: what a transaction writes.
struct JobWrite {
  LoadedJob job{};           ///< as it shall be; gets its revision
  std::vector<int> steps{};  ///< indexes of the journal rows to write
  std::vector<std::pair<std::string, int>>
      effects{};  ///< name and step whose facts it gets (-1: none)
  bool release_locks = false;
  std::vector<db::AuditEntry> audit{};
};
Status write_job(db::Transaction& tx, JobWrite& write, const db::HashFunction& sha256,
                 WallTime now);

/// NotFound/JOB_NOT_FOUND, DataLoss/BAD_DOCUMENT.
Result<LoadedJob> load_job(db::ReadTransaction& tx, const std::string& uid);
/// Every unfinished job, oldest first. One that cannot be read is logged and left alone.
Result<std::vector<LoadedJob>> load_active_jobs(db::ReadTransaction& tx);

/// An audit entry of a call that succeeded.
db::AuditEntry audit_of(const Caller& caller, const RequestFacts& facts, const std::string& job_uid,
                        WallTime now);

}  // namespace reeve::server
