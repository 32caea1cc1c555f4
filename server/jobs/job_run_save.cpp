// JobRun's side of the database: one transaction at a time, repeated until it is durable; and its
// timers.
#include <algorithm>

#include "base/log.h"
#include "server/jobs/job_run.h"

namespace reeve::server {

using StepState = v1::JobStep;

namespace {

std::string key_of(const std::string& job_uid, int index, bool undo) {
  return job_uid + "/" + std::to_string(index) + (undo ? "u" : "");
}

/// The database may take the same write later.
bool is_storage_trouble(const Error& error) {
  return error.code() == Code::ResourceExhausted || error.code() == Code::Unavailable ||
         error.code() == Code::DataLoss || error.code() == Code::Cancelled ||
         error.reason() == "DB_READ_ONLY";
}

}  // namespace

// ---------------------------------------------------------------- writing

void JobRun::save(std::function<void()> then) {
  disarm();
  phase_ = Phase::Committing;
  if (const int index = open_step(); index >= 0)
    if (std::ranges::find(pending_.steps, index) == pending_.steps.end())
      pending_.steps.push_back(index);
  refresh_view(job_);
  auto write = std::make_shared<JobWrite>(std::move(pending_));
  pending_ = {};
  write->job = job_;
  submit(std::move(write), std::move(then));
}

void JobRun::submit(std::shared_ptr<JobWrite> write, std::function<void()> then) {
  const auto time = now();
  const auto hash = world_.sha256;
  const auto attempt = std::make_shared<JobWrite>(*write);  // the writer's until it is done
  world_.writer.submit(
      [attempt, hash, time](db::Transaction& tx) { return write_job(tx, *attempt, hash, time); },
      [self = weak_from_this(), &loop = world_.loop, write, attempt, then](const Status& outcome,
                                                                           std::int64_t) {
        loop.post([self, write, attempt, then, outcome] {
          const auto run = self.lock();
          if (!run) return;
          if (outcome.ok()) write->job.row = attempt->job.row;
          run->saved(write, outcome, then);
        });
      });
}

void JobRun::saved(const std::shared_ptr<JobWrite>& write, const Status& outcome,
                   const std::function<void()>& then) {
  if (!outcome.ok()) {
    const Error& error = outcome.error();
    if (!is_storage_trouble(error) && !write->effects.empty()) {
      log::error("effect of a job refused", error, {{"job", job_.row.uid}});
      write->effects.clear();
      return submit(write, then);
    }
    log::error("journal write refused", error, {{"job", job_.row.uid}});
    say("waiting: the database refuses writes");
    const auto self = weak_from_this();
    timer_ = world_.loop.post_after(world_.settings.write_retry, [self, write, then] {
      const auto run = self.lock();
      if (!run) return;
      run->timer_ = 0;
      run->submit(write, then);
    });
    return;
  }
  job_.row.revision = write->job.row.revision;
  job_.row.etag = write->job.row.etag;
  job_.row.update_time = write->job.row.update_time;
  job_.record.mutable_view()->set_revision(job_.row.revision);
  phase_ = Phase::Idle;
  const auto self = shared_from_this();  // `changed` may drop the last other owner
  // Acknowledgements of what was just journalled go out before whatever is sent next.
  for (const auto& task : std::exchange(on_saved_, {})) task();
  then();
  world_.changed(job_);
  drain();
}

void JobRun::when_settled(Task event) {
  if (phase_ == Phase::Committing || !waiting_.empty()) {
    waiting_.push_back(std::move(event));
    return;
  }
  event();
}

void JobRun::drain() {
  while (phase_ != Phase::Committing && !waiting_.empty()) {
    auto event = std::move(waiting_.front());
    waiting_.pop_front();
    event();
  }
}

// ---------------------------------------------------------------- small things

int JobRun::open_step() const {
  for (int i = 0; i < job_.step_count(); ++i) {
    const auto state = job_.step_state(i);
    if (state == StepState::STATE_RUNNING || state == StepState::STATE_UNDOING) return i;
  }
  return -1;
}

std::string JobRun::open_key() const {
  return key_of(job_.row.uid, open_step(), job_.record.backwards());
}

const std::string& JobRun::open_host() const {
  static const std::string kNone;
  const int index = open_step();
  return index < 0 ? kNone : job_.planned(index).host();
}

bool JobRun::is_open(const std::string& host_uid, const std::string& key) const {
  return open_step() >= 0 && open_host() == host_uid && open_key() == key;
}

void JobRun::arm(std::chrono::milliseconds delay, void (JobRun::*handler)()) {
  disarm();
  timer_ = world_.loop.post_after(delay, [self = weak_from_this(), handler] {
    const auto run = self.lock();
    if (!run) return;
    run->timer_ = 0;
    (run.get()->*handler)();
  });
}

void JobRun::disarm() {
  if (timer_ != 0) world_.loop.cancel(timer_);
  timer_ = 0;
}

void JobRun::say(std::string phase) {
  v1::Progress shown;
  shown.set_phase(std::move(phase));
  shown.set_percent(-1);
  shown.set_eta_seconds(-1);
  world_.progress(job_.row.uid, std::move(shown));
}

}  // namespace reeve::server
