#include "db/repo/lock_repo.h"

#include <chrono>

#include "db/repo/list_query.h"

namespace reeve::db {
namespace {

constexpr std::string_view kSelect = "SELECT resource, job_uid, acquire_time FROM job_lock ";

JobLock read_row(const Statement& row) {
  return {.resource = row.text(0), .job_uid = row.text(1), .acquire_time = row.time(2)};
}

Error conflict(const JobLock& held, const std::string& kind, WallTime now) {
  const auto age =
      std::chrono::duration_cast<std::chrono::seconds>(now - held.acquire_time).count();
  return Error{Code::Aborted, "LOCKED",
               "'" + held.resource + "' is in use by job " + held.job_uid + " (" + kind +
                   ") since " + std::to_string(age) + " s"}
      .remedy("wait for that job or cancel it")
      .resource(held.resource)
      .with("job", held.job_uid)
      .with("resource", held.resource)
      .with("held_seconds", std::to_string(age));
}

}  // namespace

Result<std::vector<JobLock>> LockReader::of_job(std::string_view job_uid) {
  auto rows =
      TRY(read_.query(std::string(kSelect) + "WHERE job_uid = ? ORDER BY resource", job_uid));
  return read_all(rows, read_row);
}

Result<std::vector<JobLock>> LockReader::all() {
  auto rows = TRY(read_.query(std::string(kSelect) + "ORDER BY acquire_time, resource"));
  return read_all(rows, read_row);
}

Result<std::optional<JobLock>> LockReader::find(std::string_view resource) {
  auto rows = TRY(read_.query(std::string(kSelect) + "WHERE resource = ?", resource));
  if (!TRY(rows.step())) return std::optional<JobLock>{};
  return std::optional(read_row(rows));
}

Status LockRepo::acquire(const std::vector<std::string>& resources, std::string_view job_uid,
                         WallTime now) {
  for (const auto& resource : resources) {
    const auto held = TRY(find(resource));
    if (!held || held->job_uid == job_uid) continue;
    const auto kind = TRY(tx_.text("SELECT kind FROM job WHERE uid = ?", held->job_uid));
    return conflict(*held, kind.value_or("unknown"), now);
  }
  for (const auto& resource : resources)
    TRY(tx_.execute(
        "INSERT OR IGNORE INTO job_lock (resource, job_uid, acquire_time) VALUES (?,?,?)", resource,
        job_uid, now));
  return {};
}

Status LockRepo::release_all(std::string_view job_uid) {
  TRY(tx_.execute("DELETE FROM job_lock WHERE job_uid = ?", job_uid));
  return {};
}

Status LockRepo::release(std::string_view resource, std::string_view job_uid) {
  TRY(tx_.execute("DELETE FROM job_lock WHERE resource = ? AND job_uid = ?", resource, job_uid));
  return {};
}

}  // namespace reeve::db
