#include "server/jobs/runner.h"

#include "base/log.h"
#include "db/repo/job_repo.h"
#include "db/repo/request_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

/// What a submit's transaction leaves behind for the loop and the caller.
struct Accepted {
  LoadedJob job{};
  v1::Job view{};
  bool fresh = false;
};

struct Submission {
  Caller caller{};
  JobRequest request{};
  RequestFacts facts{};
  FreshIds ids{};
  WallTime now{};
  db::HashFunction sha256{};
};

/// The job that an earlier call with the same request_id made.
Result<std::optional<v1::Job>> repeated(db::Transaction& tx, const Submission& submission) {
  const auto& facts = submission.facts;
  if (facts.request_id.empty()) return std::optional<v1::Job>{};
  const auto stored =
      TRY(db::RequestReader(tx).find(submission.caller.actor, facts.request_id, facts.method,
                                     submission.sha256(facts.body), submission.now));
  if (!stored) return std::optional<v1::Job>{};
  const auto row = TRY(db::JobReader(tx).get(stored->job_uid));
  return std::optional(TRY(to_proto(row)));
}

Status remember(db::Transaction& tx, const Submission& submission) {
  if (submission.facts.request_id.empty()) return {};
  return db::RequestRepo(tx).insert({.caller = submission.caller.actor,
                                     .request_id = submission.facts.request_id,
                                     .method = submission.facts.method,
                                     .body_sha256 = submission.sha256(submission.facts.body),
                                     .job_uid = submission.ids.job_uid,
                                     .create_time = submission.now});
}

/// The whole of accepting a job, in the writer's transaction.
Status accept(db::Transaction& tx, const Submission& submission, Accepted& accepted) {
  if (auto earlier = TRY(repeated(tx, submission))) {
    accepted.view = std::move(*earlier);
    return {};
  }
  Inventory inventory(tx, submission.now);
  const Plan plan = TRY(compile(inventory, submission.ids, submission.request));
  accepted.job = make_job(plan, submission.ids, submission.caller, submission.facts.request_id,
                          submission.now);
  TRY(store_job(tx, accepted.job, plan.locks, plan.record.begin_effect()));
  if (!submission.caller.audited_by_front_door) {
    auto entry =
        audit_of(submission.caller, submission.facts, submission.ids.job_uid, submission.now);
    if (entry.resource.empty()) entry.resource = accepted.job.record.view().target();
    TRY(db::AuditRepo(tx).append(std::move(entry), submission.sha256));
  }
  TRY(remember(tx, submission));
  accepted.view = accepted.job.record.view();
  accepted.fresh = true;
  return {};
}

/// The audit row of cancelling or resolving, if it is ours to write.
std::vector<db::AuditEntry> steering_audit(const Caller& caller, const char* method,
                                           const std::string& uid, std::string summary,
                                           WallTime now) {
  if (caller.audited_by_front_door) return {};
  const RequestFacts facts{
      .method = method, .resource = job_name(uid), .summary = std::move(summary)};
  return {audit_of(caller, facts, uid, now)};
}

}  // namespace

Runner::Runner(RunnerParts parts)
    : parts_(std::move(parts)),
      world_{parts_.loop, parts_.writer, parts_.agents, parts_.sha256, parts_.settings, {}, {}} {
  world_.progress = [this](const std::string& uid, v1::Progress progress) {
    const auto run = runs_.find(uid);
    if (parts_.on_progress && run != runs_.end()) {
      v1::Job view = run->second->job().record.view();
      *view.mutable_progress() = progress;
      parts_.on_progress(view);
    }
    board_.set(uid, std::move(progress));
  };
  world_.changed = [this](const LoadedJob& job) { on_changed(job); };
}

Runner::~Runner() {
  *alive_ = false;
}

void Runner::recover(std::vector<LoadedJob> jobs) {
  for (auto& job : jobs) {
    log::info("job taken up again",
              {{"job", job.row.uid}, {"kind", job.row.kind}, {"state", job.row.state}});
    const std::string uid = job.row.uid;
    auto run = std::make_shared<JobRun>(world_, std::move(job));
    runs_[uid] = run;
    run->recover();
  }
}

void Runner::adopt(LoadedJob job) {
  log::info("job accepted",
            {{"job", job.row.uid}, {"kind", job.row.kind}, {"actor", job.row.actor}});
  const std::string uid = job.row.uid;
  auto run = std::make_shared<JobRun>(world_, std::move(job));
  runs_[uid] = run;
  run->begin();
}

void Runner::submit(const Caller& caller, JobRequest request, Reply<v1::Job> reply) {
  if (Status fields = check_request(request); !fields.ok()) return reply(std::move(fields).error());
  auto submission = std::make_shared<Submission>();
  submission->caller = caller;
  submission->facts = facts_of(request);
  submission->request = std::move(request);
  submission->ids = FreshIds::draw(parts_.random, parts_.settings.macs);
  submission->now = parts_.loop.clock().wall();
  submission->sha256 = parts_.sha256;
  if (submission->facts.validate_only)
    return reply(parts_.readers.read([&](db::ReadTransaction& tx) -> Result<v1::Job> {
      Inventory inventory(tx, submission->now);
      const Plan plan = TRY(compile(inventory, submission->ids, submission->request));
      return planned_view(plan, caller);
    }));
  auto accepted = std::make_shared<Accepted>();
  parts_.writer.submit(
      [submission, accepted](db::Transaction& tx) { return accept(tx, *submission, *accepted); },
      [this, alive = std::weak_ptr<bool>(alive_), &loop = parts_.loop, accepted,
       reply = std::move(reply)](const Status& outcome, std::int64_t) {
        if (!outcome.ok()) return reply(outcome.error());
        // The loop hears of it before the caller does, so that a wait or cancel finds the job
        // there.
        if (accepted->fresh)
          loop.post([this, alive, accepted] {
            const auto here = alive.lock();
            if (here && *here) adopt(std::move(accepted->job));
          });
        reply(accepted->view);
      });
}

Result<v1::Job> Runner::stored_view(const std::string& uid) {
  return parts_.readers.read([&](db::ReadTransaction& tx) -> Result<v1::Job> {
    return to_proto(TRY(db::JobReader(tx).get(uid)));
  });
}

void Runner::cancel(const Caller& caller, const std::string& uid, Reply<v1::Job> reply) {
  auto audit = steering_audit(caller, "JobService/CancelJob", uid, "", parts_.loop.clock().wall());
  auto stored = stored_view(uid);
  if (!stored.ok()) return reply(std::move(stored).error());
  parts_.loop.post([this, alive = std::weak_ptr<bool>(alive_), uid, audit = std::move(audit),
                    reply = std::move(reply)]() mutable {
    if (alive.expired()) return;
    const auto run = runs_.find(uid);
    if (run != runs_.end()) return run->second->cancel(std::move(audit), std::move(reply));
    reply(Error(Code::FailedPrecondition, "JOB_ENDED", "the job has ended already")
              .resource(job_name(uid)));
  });
}

void Runner::resolve(const Caller& caller, const std::string& uid, const std::string& choice,
                     Reply<v1::Job> reply) {
  auto audit = steering_audit(caller, "JobService/ResolveJob", uid, choice.substr(0, 32),
                              parts_.loop.clock().wall());
  auto stored = stored_view(uid);
  if (!stored.ok()) return reply(std::move(stored).error());
  parts_.loop.post([this, alive = std::weak_ptr<bool>(alive_), uid, choice,
                    audit = std::move(audit), reply = std::move(reply)]() mutable {
    if (alive.expired()) return;
    const auto run = runs_.find(uid);
    if (run != runs_.end()) return run->second->resolve(choice, std::move(audit), std::move(reply));
    reply(Error(Code::FailedPrecondition, "JOB_NOT_PARKED", "the job has ended already")
              .resource(job_name(uid)));
  });
}

void Runner::wait(const std::string& uid, std::chrono::milliseconds timeout, Reply<v1::Job> reply) {
  auto stored = stored_view(uid);
  if (!stored.ok()) return reply(std::move(stored).error());
  parts_.loop.post([this, alive = std::weak_ptr<bool>(alive_), uid, timeout,
                    last = std::move(stored).value(), reply = std::move(reply)] {
    if (alive.expired()) return;
    const auto run = runs_.find(uid);
    const auto is_still = [](const v1::Job& job) {
      return job.state() != v1::Job::STATE_RUNNING && job.state() != v1::Job::STATE_ROLLING_BACK;
    };
    if (is_still(last)) return reply(last);
    if (run == runs_.end())
      return reply(stored_view(uid));  // it ended in between: rare, one short read
    if (run->second->is_settled() && is_still(run->second->job().record.view()))
      return reply(run->second->job().record.view());
    auto waiter = std::make_shared<Waiter>(Waiter{.reply = reply});
    waiter->timer = parts_.loop.post_after(timeout, [this, alive, uid, waiter] {
      if (alive.expired()) return;
      std::erase_if(waiters_, [&](const auto& entry) { return entry.second == waiter; });
      waiter->reply(stored_view(uid));
    });
    waiters_.emplace(uid, std::move(waiter));
  });
}

void Runner::answer_waiters(const std::string& uid, const v1::Job& view) {
  const auto [begin, end] = waiters_.equal_range(uid);
  std::vector<std::shared_ptr<Waiter>> ready;
  for (auto it = begin; it != end; ++it) ready.push_back(it->second);
  waiters_.erase(begin, end);
  for (const auto& waiter : ready) {
    parts_.loop.cancel(waiter->timer);
    waiter->reply(view);
  }
}

void Runner::on_changed(const LoadedJob& job) {
  const auto state = job.state();
  if (state == v1::Job::STATE_RUNNING || state == v1::Job::STATE_ROLLING_BACK) return;
  const std::string uid = job.row.uid;
  if (!job.row.finish_time) return answer_waiters(uid, job.record.view());
  log::info("job ended", {{"job", uid}, {"kind", job.row.kind}, {"state", job.row.state}});
  board_.forget(uid);
  const v1::Job view = job.record.view();
  const std::string vm = job.plan->vm_uid();
  const std::string host = job.row.host_uid;
  runs_.erase(uid);
  answer_waiters(uid, view);
  parts_.agents.released(host, vm, state != v1::Job::STATE_SUCCEEDED);
}

template <class Event>
void Runner::each_run(Event event) {
  std::vector<std::shared_ptr<JobRun>> all;
  all.reserve(runs_.size());
  for (const auto& [uid, run] : runs_) all.push_back(run);
  for (const auto& run : all) event(*run);
}

void Runner::agent_connected(const std::string& host_uid) {
  each_run([&](JobRun& run) { run.host_connected(host_uid); });
}

void Runner::agent_lost(const std::string& host_uid) {
  each_run([&](JobRun& run) { run.host_lost(host_uid); });
}

JobRun* Runner::find(const std::string& key) {
  const auto run = runs_.find(key.substr(0, key.find('/')));
  return run == runs_.end() ? nullptr : run->second.get();
}

void Runner::step_result(const std::string& host_uid, const agent::v1::StepResult& result) {
  if (JobRun* run = find(result.key())) return run->result(host_uid, result);
  // Its job has ended: journalled long ago, or given up.
  agent::v1::ConnectResponse message;
  message.mutable_acknowledge_results()->add_keys(result.key());
  parts_.agents.send_now(host_uid, message);
}

void Runner::step_progress(const std::string& host_uid, const agent::v1::StepProgress& progress) {
  if (JobRun* run = find(progress.key())) run->progress(host_uid, progress);
}

void Runner::step_seen(const std::string& host_uid, const agent::v1::StepSeen& seen) {
  if (JobRun* run = find(seen.key())) run->seen(host_uid, seen);
}

}  // namespace reeve::server
