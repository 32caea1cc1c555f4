#include "db/repo/job_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/object_sql.h"

namespace reeve::db {
namespace {

constexpr std::string_view kSelect =
    "SELECT uid, etag, revision, create_time, update_time, kind, state, target_kind, target_uid, "
    "target_name, host_uid, request_id, actor, parent_uid, cancel_requested, start_time, "
    "finish_time, error_code, error_reason, error_message, error_remedy, plan, doc FROM job ";

constexpr std::string_view kSelectStep =
    "SELECT job_uid, ordinal, name, host_uid, state, attempt, facts, error_code, error_reason, "
    "error_message, error_remedy, start_time, finish_time FROM job_step ";

/// Four columns from `first` on.
StoredError read_error(const Statement& row, int first) {
  return {.code = row.small(first),
          .reason = row.text(first + 1),
          .message = row.text(first + 2),
          .remedy = row.text(first + 3)};
}

Job read_row(const Statement& row) {
  Job out;
  out.uid = row.text(0);
  out.etag = row.text(1);
  out.revision = row.integer(2);
  out.create_time = row.time(3);
  out.update_time = row.time(4);
  out.kind = row.text(5);
  out.state = row.text(6);
  out.target_kind = row.text(7);
  out.target_uid = row.text(8);
  out.target_name = row.text(9);
  out.host_uid = row.text(10);
  out.request_id = row.text(11);
  out.actor = row.text(12);
  out.parent_uid = row.text(13);
  out.cancel_requested = row.boolean(14);
  out.start_time = row.maybe_time(15);
  out.finish_time = row.maybe_time(16);
  out.error = read_error(row, 17);
  out.plan = row.blob(21);
  out.doc = row.blob(22);
  return out;
}

JobStep read_step(const Statement& row) {
  JobStep out;
  out.job_uid = row.text(0);
  out.ordinal = row.small(1);
  out.name = row.text(2);
  out.host_uid = row.text(3);
  out.state = row.text(4);
  out.attempt = row.small(5);
  out.facts = row.blob(6);
  out.error = read_error(row, 7);
  out.start_time = row.maybe_time(11);
  out.finish_time = row.maybe_time(12);
  return out;
}

Version version_of_job(const Job& row, const Change& change) {
  Version version = version_head(ObjectKind::Job, row, change);
  version.name = row.target_name;
  version.state = row.state;
  version.host_uid = row.host_uid;
  version.status = row.doc;
  return version;
}

constexpr Noun<Job> kJob{ObjectKind::Job, kSelect, read_row};

}  // namespace

Result<Job> JobReader::get(std::string_view uid) {
  return find_row(read_, kJob, "uid = ?", uid);
}

Result<std::vector<Job>> JobReader::list(const Filter& filter, const Page& page) {
  return list_rows(read_, kJob, filter, column_of(ObjectOrder::CreateTime), page);
}

Result<std::vector<Job>> JobReader::active() {
  auto rows = TRY(
      read_.query(std::string(kSelect) + "WHERE finish_time IS NULL ORDER BY create_time, uid"));
  return read_all(rows, read_row);
}

Result<std::vector<JobStep>> JobReader::steps(std::string_view job_uid) {
  auto rows =
      TRY(read_.query(std::string(kSelectStep) + "WHERE job_uid = ? ORDER BY ordinal", job_uid));
  return read_all(rows, read_step);
}

Result<Job> JobRepo::insert(Job row, const Change& change) {
  FeedRepo feed(tx_);
  row.create_time = change.time;
  TRY(stamp(feed, row, change, Touch::Intent));
  TRY(tx_.execute(
      "INSERT INTO job (uid, etag, revision, create_time, update_time, kind, state, target_kind, "
      "target_uid, target_name, host_uid, request_id, actor, parent_uid, cancel_requested, "
      "start_time, finish_time, error_code, error_reason, error_message, error_remedy, plan, doc) "
      "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      row.uid, row.etag, row.revision, row.create_time, row.update_time, row.kind, row.state,
      row.target_kind, row.target_uid, row.target_name, null_if_empty(row.host_uid),
      null_if_empty(row.request_id), row.actor, null_if_empty(row.parent_uid), row.cancel_requested,
      row.start_time, row.finish_time, row.error.code, row.error.reason, row.error.message,
      row.error.remedy, Blob{row.plan}, Blob{row.doc}));
  TRY(feed.append(version_of_job(row, change)));
  return row;
}

Result<Job> JobRepo::update(Job row, const Change& change, Announce announce) {
  auto stored = TRY(get(row.uid));
  if (stored.finish_time)
    return Error{Code::FailedPrecondition, "JOB_FINISHED", "job '" + row.uid + "' has finished"};
  FeedRepo feed(tx_);
  if (announce == Announce::Yes) TRY(stamp(feed, stored, change, Touch::Intent));
  stored.update_time = change.time;
  stored.state = std::move(row.state);
  stored.target_name = std::move(row.target_name);
  stored.host_uid = std::move(row.host_uid);
  stored.cancel_requested = row.cancel_requested;
  stored.start_time = row.start_time;
  stored.finish_time = row.finish_time;
  stored.error = std::move(row.error);
  stored.doc = std::move(row.doc);
  TRY(tx_.execute(
      "UPDATE job SET state = ?, target_name = ?, host_uid = ?, cancel_requested = ?, start_time = "
      "?, finish_time = ?, error_code = ?, error_reason = ?, error_message = ?, error_remedy = ?, "
      "doc = ?, etag = ?, revision = ?, update_time = ? WHERE uid = ?",
      stored.state, stored.target_name, null_if_empty(stored.host_uid), stored.cancel_requested,
      stored.start_time, stored.finish_time, stored.error.code, stored.error.reason,
      stored.error.message, stored.error.remedy, Blob{stored.doc}, stored.etag, stored.revision,
      stored.update_time, stored.uid));
  if (announce == Announce::Yes) TRY(feed.append(version_of_job(stored, change)));
  return stored;
}

Status JobRepo::put_step(const JobStep& step) {
  TRY(tx_.execute(
      "INSERT OR REPLACE INTO job_step (job_uid, ordinal, name, host_uid, state, attempt, facts, "
      "error_code, error_reason, error_message, error_remedy, start_time, finish_time) VALUES "
      "(?,?,?,?,?,?,?,?,?,?,?,?,?)",
      step.job_uid, step.ordinal, step.name, null_if_empty(step.host_uid), step.state, step.attempt,
      Blob{step.facts}, step.error.code, step.error.reason, step.error.message, step.error.remedy,
      step.start_time, step.finish_time));
  return {};
}

Result<int> JobRepo::remove_finished_before(WallTime time, int limit) {
  auto rows = TRY(tx_.query(std::string(kSelect) +
                                "WHERE finish_time IS NOT NULL AND finish_time < ? ORDER BY "
                                "finish_time LIMIT ?",
                            time, limit));
  const auto old = TRY(read_all(rows, read_row));
  FeedRepo feed(tx_);
  for (const auto& job : old) {
    TRY(tx_.execute("DELETE FROM job WHERE uid = ?", job.uid));
    TRY(append_removal(
        feed, version_of_job(job, {.actor = job.actor, .job_uid = job.uid, .time = time})));
  }
  return static_cast<int>(old.size());
}

}  // namespace reeve::db
