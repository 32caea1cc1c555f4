#include "db/repo/job_repo.h"

#include "db/repo/feed_repo.h"
#include "db/repo/lock_repo.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

std::vector<std::string> uids(const std::vector<Job>& jobs) {
  std::vector<std::string> out;
  for (const auto& job : jobs) out.push_back(job.uid);
  return out;
}
using Uids = std::vector<std::string>;

TEST_CASE("a job comes back as it was stored, with its error", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  auto row = job_row("j1", "start_vm", "v1");
  row.request_id = "r1";
  row.parent_uid = "j0";
  row.host_uid = "h1";
  must(jobs.insert(row, by("users/admin", 5, "j1")));
  auto job = must(jobs.get("j1"));
  CHECK(job.plan == "plan");
  CHECK(job.request_id == "r1");
  CHECK(job.parent_uid == "j0");
  CHECK(job.create_time == at(5));
  CHECK_FALSE(job.start_time);
  CHECK_FALSE(job.error.is_set());

  job.state = "failed";
  job.finish_time = at(9);
  job.cancel_requested = true;
  job.doc = "progress";
  job.error =
      StoredError::of(Error{Code::ResourceExhausted, "NO_HOST_FITS", "none"}.remedy("add one"));
  must(jobs.update(job, by("server", 9, "j1"), Announce::Yes));
  job = must(jobs.get("j1"));
  CHECK(job.finish_time == at(9));
  CHECK(job.cancel_requested);
  const auto error = job.error.to_error();
  CHECK(error.code() == Code::ResourceExhausted);
  CHECK(error.reason() == "NO_HOST_FITS");
  CHECK(error.remedy() == "add one");
}

TEST_CASE("a finished job never changes again", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  auto job = must(jobs.insert(job_row("j1", "start_vm", "v1"), by("a")));
  job.finish_time = at(1);
  must(jobs.update(job, by("a"), Announce::Yes));
  CHECK(reason_of(jobs.update(job, by("a"), Announce::Yes)) == "JOB_FINISHED");
}

TEST_CASE("progress is stored without a version", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  auto job = must(jobs.insert(job_row("j1", "start_vm", "v1"), by("a", 1, "j1")));
  job.doc = "40 %";
  must(jobs.update(job, by("a", 2, "j1"), Announce::No));
  job.state = "running";
  must(jobs.update(job, by("a", 3, "j1"), Announce::Yes));
  const auto versions = must(FeedReader(tx).versions(0, {ObjectKind::Job}, 10));
  REQUIRE(versions.size() == 2);
  CHECK(versions[1].state == "running");
  CHECK(versions[1].status == "40 %");
  CHECK(versions[1].name == "web");
}

TEST_CASE("jobs are listed by activity, target, parent and time", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  for (int i = 1; i <= 6; ++i) {
    auto row =
        job_row("j" + std::to_string(i), i % 2 == 0 ? "stop_vm" : "start_vm", i < 4 ? "v1" : "v2");
    if (i > 4) row.parent_uid = "j1";
    if (i == 2) row.finish_time = at(3);
    must(jobs.insert(row, by("a", i)));
  }
  const auto list = [&](const Filter& filter, bool descending = false) {
    return uids(must(jobs.list(filter, {.limit = 10, .descending = descending})));
  };
  const auto finished = Filter().also({{.column = Column::FinishTime, .negated = true}});
  CHECK(list({}) == Uids{"j1", "j2", "j3", "j4", "j5", "j6"});
  CHECK(list({}, true) == Uids{"j6", "j5", "j4", "j3", "j2", "j1"});
  CHECK(list({Column::FinishTime, {}}) == Uids{"j1", "j3", "j4", "j5", "j6"});
  CHECK(list(finished) == Uids{"j2"});
  CHECK(list({Column::TargetUid, "v1"}) == Uids{"j1", "j2", "j3"});
  CHECK(list({Column::ParentUid, "j1"}) == Uids{"j5", "j6"});
  CHECK(list(Filter(Column::Kind, "stop_vm").also(Column::State, "pending")) ==
        Uids{"j2", "j4", "j6"});
  CHECK(uids(must(jobs.active())) == Uids{"j1", "j3", "j4", "j5", "j6"});
  const auto middle = must(jobs.get("j3"));
  CHECK(uids(must(jobs.list({}, {.after = key_of(middle, ObjectOrder::CreateTime), .limit = 2}))) ==
        Uids{"j4", "j5"});
}

TEST_CASE("the journal keeps the last row of each step", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  must(jobs.insert(job_row("j1", "start_vm", "v1"), by("a")));
  JobStep step{.job_uid = "j1",
               .ordinal = 1,
               .name = "start",
               .host_uid = "h1",
               .state = "running",
               .attempt = 1,
               .facts = std::string("a\0b", 3),
               .start_time = at(1)};
  must(jobs.put_step(step));
  must(jobs.put_step({.job_uid = "j1", .ordinal = 0, .name = "reserve", .state = "done"}));
  step.state = "failed";
  step.attempt = 2;
  step.finish_time = at(2);
  step.error = StoredError::of(Error{Code::Unavailable, "AGENT_LOST", "gone"});
  must(jobs.put_step(step));

  const auto steps = must(jobs.steps("j1"));
  REQUIRE(steps.size() == 2);
  CHECK(steps[0].name == "reserve");
  CHECK(steps[1].state == "failed");
  CHECK(steps[1].attempt == 2);
  CHECK(steps[1].facts == std::string("a\0b", 3));
  CHECK(steps[1].error.reason == "AGENT_LOST");
  CHECK(steps[1].start_time == at(1));
  CHECK(reason_of(jobs.put_step({.job_uid = "nobody"})) == "DB_FOREIGN_KEY");
}

TEST_CASE("old finished jobs go with their journal, active ones stay", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  for (const std::string uid : {"old", "new", "active"}) {
    auto row = job_row(uid, "start_vm", "v1");
    if (uid != "active") row.finish_time = at(uid == "old" ? 1 : 100);
    must(jobs.insert(row, by("a", 0, uid)));
    must(jobs.put_step({.job_uid = uid, .name = "s", .state = "done"}));
  }
  CHECK(must(jobs.remove_finished_before(at(50), 10)) == 1);
  CHECK(uids(must(jobs.list({}, {}))) == Uids{"active", "new"});
  CHECK(must(jobs.steps("old")).empty());
  CHECK(must(FeedReader(tx).history("old", 0, 1))[0].deleted);
}

TEST_CASE("locks are taken all or none, and a conflict names the owner and its age", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  must(JobRepo(tx).insert(job_row("j1", "start_vm", "v1"), by("a")));
  must(JobRepo(tx).insert(job_row("j2", "delete_vm", "v1"), by("a")));
  LockRepo locks(tx);
  must(locks.acquire({"vms/v1", "hosts/h1/slot"}, "j1", at(10)));
  const auto refused = locks.acquire({"vms/v2", "vms/v1"}, "j2", at(75));
  REQUIRE(reason_of(refused) == "LOCKED");
  CHECK(refused.error().code() == Code::Aborted);
  CHECK(refused.error().message().find("start_vm") != std::string::npos);
  CHECK(refused.error().metadata().at("job") == "j1");
  CHECK(refused.error().metadata().at("held_seconds") == "65");
  CHECK(refused.error().resource() == "vms/v1");
  CHECK(must(locks.of_job("j2")).empty());

  must(locks.acquire({"vms/v1", "vms/v3"}, "j1", at(20)));  // again, and one more
  CHECK(must(locks.of_job("j1")).size() == 3);
  CHECK(must(locks.find("vms/v1"))->acquire_time == at(10));
  CHECK(must(locks.all()).size() == 3);
  must(locks.release("vms/v3", "j2"));  // not its own
  CHECK(must(locks.of_job("j1")).size() == 3);
  must(locks.release_all("j1"));
  must(locks.release_all("j1"));
  must(locks.acquire({"vms/v1"}, "j2", at(80)));
  CHECK(reason_of(locks.acquire({"x"}, "no such job", at(1))) == "DB_FOREIGN_KEY");
}

}  // namespace
}  // namespace reeve::db
