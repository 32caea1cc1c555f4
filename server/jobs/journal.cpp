#include "server/jobs/journal.h"

#include <algorithm>

#include "base/log.h"
#include "db/repo/job_repo.h"
#include "db/repo/lock_repo.h"
#include "server/app/errors.h"
#include "server/app/inventory.h"
#include "server/app/views.h"
#include "server/app/vm_state.h"
#include "server/app/words.h"
#include "server/jobs/choices.h"
#include "server/jobs/kinds.h"

namespace reeve::server {

namespace {

std::string resource_of(const LoadedJob& job) {
  return job.row.target_kind == "image" ? image_name(job.row.target_uid)
                                        : vm_name(job.row.target_uid);
}

v1::JobStep shown_step(const db::JobStep& step) {
  v1::JobStep shown;
  shown.set_title(step.name);
  if (!step.host_uid.empty()) shown.set_host(host_name(step.host_uid));
  shown.set_state(step_state_of(step.state));
  shown.set_attempts(step.attempt);
  if (step.error.is_set()) *shown.mutable_error() = to_error_info(step.error.to_error());
  if (step.start_time) *shown.mutable_start_time() = to_proto(*step.start_time);
  if (step.finish_time) *shown.mutable_end_time() = to_proto(*step.finish_time);
  const FactMap facts = facts_of(step);
  if (const auto outcome = facts.find("outcome"); outcome != facts.end())
    shown.set_outcome(outcome->second);
  return shown;
}

/// Aborted/LOCKED of the repository as the API says it.
Error busy(db::Transaction& tx, WallTime now, const Error& locked) {
  const auto& facts = locked.metadata();
  const auto text = [&](const char* key) {
    const auto it = facts.find(key);
    return it == facts.end() ? std::string() : it->second;
  };
  std::string uid = text("job");
  if (uid.starts_with("jobs/")) uid = uid.substr(5);
  const auto owner = db::JobReader(tx).get(uid);
  return busy_error(
      text("resource"), Inventory(tx, now).subject_of(text("resource")),
      {uid, owner.ok() ? owner.value().kind : "unknown", std::atoll(text("held_seconds").c_str())});
}

}  // namespace

v1::Job::State LoadedJob::state() const {
  return job_state_of(row.state);
}

v1::JobStep::State LoadedJob::step_state(int index) const {
  return step_state_of(steps[static_cast<std::size_t>(index)].state);
}

bool LoadedJob::past_return() const {
  for (int i = 0; i < step_count(); ++i)
    if (planned(i).no_return() && step_state(i) != v1::JobStep::STATE_PENDING) return true;
  return false;
}

bool LoadedJob::has_undo() const {
  for (int i = 0; i < step_count(); ++i) {
    const auto state = step_state(i);
    const bool begun = state != v1::JobStep::STATE_PENDING && state != v1::JobStep::STATE_UNDONE;
    if (begun && planned(i).has_undo()) return true;
  }
  return false;
}

FactMap facts_of(const db::JobStep& step) {
  journal::v1::StepFacts facts;
  if (!facts.ParseFromString(step.facts)) return {};
  return {facts.facts().begin(), facts.facts().end()};
}

void set_facts(db::JobStep& step, const FactMap& facts) {
  journal::v1::StepFacts message;
  for (const auto& [key, value] : facts) (*message.mutable_facts())[key] = value;
  step.facts = message.SerializeAsString();
}

void refresh_view(LoadedJob& job) {
  auto& view = *job.record.mutable_view();
  const auto state = job.state();
  view.set_state(state);
  view.clear_steps();
  for (const auto& step : job.steps) *view.add_steps() = shown_step(step);
  view.clear_choices();
  if (state == v1::Job::STATE_PARKED)
    for (auto& choice : choices_of(job)) *view.add_choices() = std::move(choice);
  view.clear_cancel_consequence();
  if (state == v1::Job::STATE_RUNNING && !job.past_return() && !job.row.cancel_requested)
    view.set_cancel_consequence(std::string(kind_row(job.row.kind).cancel));
  const bool trouble = job.row.error.is_set() && state != v1::Job::STATE_SUCCEEDED;
  if (!trouble) view.clear_error();
  if (job.row.finish_time) {
    *view.mutable_end_time() = to_proto(*job.row.finish_time);
    view.clear_locks();
  }
  job.row.doc = job.record.SerializeAsString();
}

v1::Job planned_view(const Plan& plan, const Caller& caller) {
  v1::Job view = plan.record.view();
  view.set_kind(plan.kind);
  view.set_state(v1::Job::STATE_PLANNED);
  view.set_target(plan.target_kind == "image" ? image_name(plan.target_uid)
                                              : vm_name(plan.target_uid));
  view.set_target_display_name(plan.target_name);
  view.set_actor(caller.actor);
  const bool makes_target = plan.kind == "CreateVm" || plan.kind == "ImportImage";
  for (const auto& lock : plan.locks)
    if (!makes_target || lock != view.target()) view.add_locks(lock);
  for (const auto& planned : plan.record.steps()) {
    auto& step = *view.add_steps();
    step.set_title(planned.title());
    if (!planned.host().empty()) step.set_host(host_name(planned.host()));
    step.set_state(v1::JobStep::STATE_PENDING);
  }
  if (makes_target) view.clear_target();  // its uid is drawn anew when it is really made
  return view;
}

LoadedJob make_job(const Plan& plan, const FreshIds& ids, const Caller& caller,
                   const std::string& request_id, WallTime now) {
  LoadedJob job;
  job.plan = std::make_shared<const journal::v1::PlanRecord>(plan.record);
  auto& row = job.row;
  row.uid = ids.job_uid;
  row.kind = plan.kind;
  row.state = to_word(v1::Job::STATE_RUNNING);
  row.target_kind = plan.target_kind;
  row.target_uid = plan.target_uid;
  row.target_name = plan.target_name;
  row.host_uid = plan.host_uid;
  row.request_id = request_id;
  row.actor = caller.actor;
  row.start_time = now;
  row.plan = plan.record.SerializeAsString();
  for (int i = 0; i < plan.record.steps_size(); ++i) {
    const auto& planned = plan.record.steps(i);
    db::JobStep step;
    step.job_uid = row.uid;
    step.ordinal = i;
    step.name = planned.title();
    step.host_uid = planned.host();
    const bool begins = i == 0 && !planned.host().empty();
    step.state = to_word(begins ? v1::JobStep::STATE_RUNNING : v1::JobStep::STATE_PENDING);
    if (begins) {
      step.attempt = 1;
      step.start_time = now;
    }
    job.steps.push_back(std::move(step));
  }
  auto& view = *job.record.mutable_view();
  view = planned_view(plan, caller);
  view.set_name(job_name(row.uid));
  view.set_uid(row.uid);
  view.set_target(resource_of(job));
  *view.mutable_locks() = {plan.locks.begin(), plan.locks.end()};
  view.set_request_id(request_id);
  *view.mutable_create_time() = to_proto(now);
  refresh_view(job);
  return job;
}

Status store_job(db::Transaction& tx, LoadedJob& job, const std::vector<std::string>& locks,
                 const std::string& begin_effect) {
  const WallTime now = job.row.start_time.value_or(WallTime{});
  const db::Change change{.actor = job.row.actor, .job_uid = job.row.uid, .time = now};
  db::JobRepo jobs(tx);
  job.row = TRY(jobs.insert(std::move(job.row), change));
  job.row.plan.clear();
  for (const auto& step : job.steps) TRY(jobs.put_step(step));
  const Status locked = db::LockRepo(tx).acquire(locks, job.row.uid, now);
  if (!locked.ok())
    return locked.error().reason() == "LOCKED" ? Status(busy(tx, now, locked.error())) : locked;
  job.record.mutable_view()->set_revision(job.row.revision);
  return apply_effect(begin_effect, {tx, *job.plan, {}, change});
}

Status write_job(db::Transaction& tx, JobWrite& write, const db::HashFunction& sha256,
                 WallTime now) {
  auto& job = write.job;
  const db::Change change{.actor = job.row.actor, .job_uid = job.row.uid, .time = now};
  db::JobRepo jobs(tx);
  for (const int index : write.steps)
    TRY(jobs.put_step(job.steps[static_cast<std::size_t>(index)]));
  // Locks go first: the versions that effects make shall show the object free.
  if (write.release_locks) TRY(db::LockRepo(tx).release_all(job.row.uid));
  for (const auto& [name, index] : write.effects) {
    const FactMap facts =
        index < 0 ? FactMap{} : facts_of(job.steps[static_cast<std::size_t>(index)]);
    TRY(apply_effect(name, {tx, *job.plan, facts, change}));
  }
  job.row = TRY(jobs.update(job.row, change, db::Announce::Yes));
  job.record.mutable_view()->set_revision(job.row.revision);
  for (auto& entry : write.audit) TRY(db::AuditRepo(tx).append(entry, sha256));
  return {};
}

Result<LoadedJob> load_job(db::ReadTransaction& tx, const std::string& uid) {
  LoadedJob job;
  db::JobReader reader(tx);
  job.row = TRY(reader.get(uid));
  job.plan = std::make_shared<const journal::v1::PlanRecord>(
      TRY(document<journal::v1::PlanRecord>(job.row.plan, "job " + uid)));
  job.row.plan.clear();
  job.record = TRY(document<journal::v1::JobRecord>(job.row.doc, "job " + uid));
  job.steps = TRY(reader.steps(uid));
  job.record.mutable_view()->set_revision(job.row.revision);
  if (static_cast<int>(job.steps.size()) != job.step_count())
    return Error(Code::DataLoss, "BAD_JOURNAL",
                 "job " + uid + " has " + std::to_string(job.steps.size()) + " journal rows for " +
                     std::to_string(job.step_count()) + " steps");
  return job;
}

Result<std::vector<LoadedJob>> load_active_jobs(db::ReadTransaction& tx) {
  std::vector<LoadedJob> jobs;
  for (const auto& row : TRY(db::JobReader(tx).active())) {
    auto job = load_job(tx, row.uid);
    if (job.ok()) {
      jobs.push_back(std::move(job).value());
      continue;
    }
    if (job.error().code() != Code::DataLoss) return job.error();
    log::error("job cannot be resumed", job.error(), {{"job", row.uid}});
  }
  return jobs;
}

db::AuditEntry audit_of(const Caller& caller, const RequestFacts& facts, const std::string& job_uid,
                        WallTime now) {
  return {.time = now,
          .actor = caller.actor,
          .peer = caller.peer,
          .method = facts.method,
          .resource = facts.resource,
          .request_id = facts.request_id,
          .job_uid = job_uid,
          .summary = facts.summary};
}

}  // namespace reeve::server
