#include "server/jobs/job_run.h"

#include <algorithm>

#include "base/log.h"
#include "server/app/errors.h"
#include "server/app/words.h"
#include "server/jobs/choices.h"

namespace reeve::server {

using StepState = v1::JobStep;

namespace {

/// The same step may succeed later without anybody doing anything.
bool is_transient(const Error& error) {
  return error.code() == Code::Unavailable || error.reason() == "AGENT_BUSY";
}

/// Whether it took effect is not known: look.
bool is_unclear(const Error& error) {
  return error.code() == Code::DeadlineExceeded || error.code() == Code::Unknown;
}

/// An agent does not choose how much the journal holds.
constexpr std::size_t kLongestText = 4096;
constexpr std::size_t kMostFacts = 32;

std::string bounded(const std::string& text) {
  if (text.size() <= kLongestText) return text;
  std::size_t end = kLongestText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;  // whole characters
  return text.substr(0, end);
}

FactMap bounded_facts(const google::protobuf::Map<std::string, std::string>& facts) {
  FactMap kept;
  for (const auto& [key, value] : facts)
    if (kept.size() < kMostFacts) kept[bounded(key)] = bounded(value);
  return kept;
}

Error bounded_error(v1::ErrorInfo info) {
  info.set_message(bounded(info.message()));
  auto& detail = *info.mutable_detail();
  detail.set_reason(bounded(detail.reason()));
  detail.set_remedy(bounded(detail.remedy()));
  detail.set_resource(bounded(detail.resource()));
  detail.clear_field_violations();
  const FactMap facts = bounded_facts(detail.metadata());
  detail.clear_metadata();
  for (const auto& [key, value] : facts) (*detail.mutable_metadata())[key] = value;
  return to_error(info);
}

}  // namespace

JobRun::~JobRun() {
  disarm();
}

// ---------------------------------------------------------------- taking up

void JobRun::begin() {
  tries_ = 1;
  if (open_step() < 0) {  // its first step is the server's own
    mark_next_forward();
    return save([this] { drive(); });
  }
  drive();
}

void JobRun::recover() {
  in_doubt_ = true;
  tries_ = 1;
  if (job_.state() == v1::Job::STATE_PARKED) {
    phase_ = Phase::Parked;
    if (open_step() >= 0 && world_.agents.is_connected(open_host())) host_connected(open_host());
    return;
  }
  if (open_step() >= 0) return drive();
  if (job_.record.backwards())
    mark_next_backward(job_.step_count() - 1);
  else
    mark_next_forward();
  in_doubt_ = false;
  save([this] { drive(); });
}

// ---------------------------------------------------------------- events

void JobRun::host_connected(const std::string& host_uid) {
  when_settled([this, host_uid] {
    if (open_step() < 0 || open_host() != host_uid) return;
    if (phase_ == Phase::Parked) {
      if (job_.record.park_cause() == Cause::PARK_CAUSE_UNREACHABLE) unpark();
      return;
    }
    if (phase_ == Phase::Executing || phase_ == Phase::Observing) in_doubt_ = true;
    if (phase_ != Phase::Backoff && phase_ != Phase::Ended) drive();
  });
}

void JobRun::host_lost(const std::string& host_uid) {
  when_settled([this, host_uid] {
    if (open_step() < 0 || open_host() != host_uid) return;
    if (phase_ == Phase::Executing || phase_ == Phase::Observing) {
      in_doubt_ = true;
      wait_for_host();
    }
  });
}

void JobRun::result(const std::string& host_uid, const agent::v1::StepResult& result) {
  when_settled([this, host_uid, result] {
    const bool expected =
        phase_ == Phase::Executing || phase_ == Phase::Observing || phase_ == Phase::WaitingHost;
    if (!expected || !is_open(host_uid, result.key())) return acknowledge(host_uid, result.key());
    // Of an attempt that has been judged: its acknowledgement was lost, or waits for the next one.
    const auto attempt = static_cast<std::uint32_t>(step(open_step()).attempt);
    if (result.attempt() != 0 && result.attempt() < attempt) return;
    disarm();
    if (!result.has_error()) {
      const FactMap facts = bounded_facts(result.facts());
      return job_.record.backwards() ? step_undone() : step_done(facts);
    }
    const auto& host = job_.planned(open_step()).host_display_name();
    step_failed(bounded_error(result.error()).during("host '" + host + "'"));
  });
}

void JobRun::seen(const std::string& host_uid, const agent::v1::StepSeen& seen) {
  when_settled([this, host_uid, seen] {
    if (phase_ != Phase::Observing || !is_open(host_uid, seen.key())) return;
    disarm();
    decide_seen(seen);
  });
}

void JobRun::decide_seen(const agent::v1::StepSeen& seen) {
  auto decision = decide(kind_row(job_.row.kind), direction(), seen.outcome());
  const bool took_effect = decision == Decision::Continue;
  if (job_.row.cancel_requested && !job_.record.backwards() && !took_effect &&
      decision != Decision::Wait)
    return go_back(Error(Code::Cancelled, "CANCELLED", "the job was cancelled"));
  if (decision != Decision::Park) blind_since_.reset();
  switch (decision) {
    case Decision::Continue: {
      const FactMap facts = bounded_facts(seen.facts());
      return job_.record.backwards() ? step_undone() : step_done(facts);
    }
    case Decision::Wait:
      phase_ = Phase::Executing;
      return arm(world_.settings.watchdog, &JobRun::on_watchdog);
    case Decision::RunAgain:
      if (trouble_ && tries_ >= world_.settings.attempts) {
        const Error error = *trouble_;
        return job_.record.backwards() ? park(Cause::PARK_CAUSE_UNDO_FAILED, error)
                                       : go_back(error);
      }
      in_doubt_ = false;
      ++step(open_step()).attempt;
      if (trouble_) return back_off();
      return drive();
    case Decision::Park: {
      // The agent is there before its hypervisor: a connection that is not up yet tells nothing.
      const bool blind = seen.error().code() == static_cast<int>(Code::Unavailable);
      if (blind && !blind_since_) blind_since_ = now();
      if (blind && now() - *blind_since_ < world_.settings.unreachable_grace) {
        say("waiting for the hypervisor of " + job_.planned(open_step()).host_display_name());
        return arm(world_.settings.first_backoff, &JobRun::on_watchdog);
      }
      blind_since_.reset();
      const Error fallback(Code::Unknown, "OUTCOME_UNKNOWN",
                           "it cannot be told whether the step took effect");
      return park(Cause::PARK_CAUSE_UNKNOWABLE,
                  seen.has_error() ? bounded_error(seen.error()) : fallback);
    }
  }
}

void JobRun::progress(const std::string& host_uid, const agent::v1::StepProgress& progress) {
  if (phase_ != Phase::Executing || !is_open(host_uid, progress.key())) return;
  disarm();
  arm(world_.settings.watchdog, &JobRun::on_watchdog);
  v1::Progress shown;
  shown.set_phase(progress.phase());
  shown.set_done(progress.done());
  shown.set_total(progress.total());
  shown.set_percent(-1);
  shown.set_eta_seconds(-1);
  if (progress.total() > 0) {
    const double part = std::clamp(
        static_cast<double>(progress.done()) / static_cast<double>(progress.total()), 0.0, 1.0);
    shown.set_percent(static_cast<std::int32_t>((open_step() + part) * 100 / job_.step_count()));
  }
  const auto elapsed = sent_at_ ? std::chrono::duration<double>(now() - *sent_at_).count() : 0.0;
  if (elapsed >= 1 && progress.done() > 0) {
    const double rate = static_cast<double>(progress.done()) / elapsed;
    shown.set_rate(static_cast<std::int64_t>(rate));
    if (progress.total() > progress.done() && rate >= 1)
      shown.set_eta_seconds(static_cast<std::int32_t>(
          std::min(1e9, static_cast<double>(progress.total() - progress.done()) / rate)));
  }
  world_.progress(job_.row.uid, std::move(shown));
}

void JobRun::cancel(std::vector<db::AuditEntry> audit, Reply<v1::Job> reply) {
  when_settled([this, audit = std::move(audit), reply = std::move(reply)]() mutable {
    if (phase_ == Phase::Ended)
      return reply(Error(Code::FailedPrecondition, "JOB_ENDED", "the job has ended already")
                       .resource(job_name(job_.row.uid)));
    if (job_.record.view().cancel_consequence().empty())
      return reply(
          Error(Code::FailedPrecondition, "JOB_NOT_CANCELLABLE",
                "the " + job_.row.kind + " job is " + job_.row.state + " and cannot be cancelled")
              .resource(job_name(job_.row.uid))
              .remedy(phase_ == Phase::Parked ? "resolve it with one of its choices"
                                              : "wait until it has ended"));
    const Phase before = phase_;
    disarm();
    job_.row.cancel_requested = true;
    pending_.audit = std::move(audit);
    save([this, before, reply = std::move(reply)] {
      reply(job_.record.view());
      phase_ = before;
      if (before == Phase::Executing) {
        agent::v1::ConnectResponse message;
        message.mutable_cancel_step()->set_key(open_key());
        world_.agents.send_now(open_host(), message);
        return arm(world_.settings.watchdog, &JobRun::on_watchdog);
      }
      if (before == Phase::Observing) return arm(world_.settings.watchdog, &JobRun::on_watchdog);
      const bool cannot_tell = before == Phase::WaitingHost && in_doubt_;
      if (cannot_tell && !job_.planned(open_step()).has_undo()) {
        phase_ = Phase::Idle;
        return wait_for_host();
      }
      if (!in_doubt_ && open_step() >= 0) mark(open_step(), StepState::STATE_PENDING);
      go_back(Error(Code::Cancelled, "CANCELLED", "the job was cancelled"));
    });
  });
}

void JobRun::resolve(const std::string& choice, std::vector<db::AuditEntry> audit,
                     Reply<v1::Job> reply) {
  when_settled([this, choice, audit = std::move(audit), reply = std::move(reply)]() mutable {
    if (phase_ != Phase::Parked)
      return reply(Error(Code::FailedPrecondition, "JOB_NOT_PARKED",
                         "the job is " + job_.row.state + ", not parked")
                       .resource(job_name(job_.row.uid)));
    const auto choices = choices_of(job_);
    if (std::ranges::find(choices, choice, &v1::JobChoice::id) == choices.end())
      return reply(Error(Code::InvalidArgument, "NO_SUCH_CHOICE", "the job has no such choice")
                       .resource(job_name(job_.row.uid))
                       .with("field:choice", "is not one of the job's choices"));
    pending_.audit = std::move(audit);
    on_saved_.push_back([this, reply = std::move(reply)] { reply(job_.record.view()); });
    if (choice == kAbandon) return abandon();
    tries_ = 1;
    trouble_.reset();
    if (choice == kRollBack) {
      const auto error = job_.row.error.is_set()
                             ? job_.row.error.to_error()
                             : Error(Code::Aborted, "ROLLED_BACK", "rolled back");
      return go_back(error);
    }
    const bool again = job_.record.park_cause() != Cause::PARK_CAUSE_UNREACHABLE;
    if (again) in_doubt_ = false;  // a person has said so
    if (again) ++step(open_step()).attempt;
    unpark();
  });
}

// ---------------------------------------------------------------- what is next

void JobRun::step_done(const FactMap& facts) {
  const int index = open_step();
  on_saved_.push_back([this, host = open_host(), key = open_key()] { acknowledge(host, key); });
  set_facts(step(index), facts);
  step(index).error = {};
  mark(index, StepState::STATE_DONE);
  pending_.effects.emplace_back(job_.planned(index).effect(), index);
  const bool more = index + 1 < job_.step_count();
  in_doubt_ = false;
  tries_ = 1;
  trouble_.reset();
  if (job_.row.cancel_requested && more) {
    go_back(Error(Code::Cancelled, "CANCELLED", "the job was cancelled"));
  } else {
    mark_next_forward();
    save([this] { drive(); });
  }
}

void JobRun::step_undone() {
  const int index = open_step();
  on_saved_.push_back([this, host = open_host(), key = open_key()] { acknowledge(host, key); });
  mark(index, StepState::STATE_UNDONE);
  pending_.effects.emplace_back(job_.planned(index).undo_effect(), -1);
  in_doubt_ = false;
  tries_ = 1;
  trouble_.reset();
  mark_next_backward(index - 1);
  save([this] { drive(); });
}

void JobRun::step_failed(const Error& error) {
  const int index = open_step();
  on_saved_.push_back([this, host = open_host(), key = open_key()] { acknowledge(host, key); });
  step(index).error = db::StoredError::of(error);
  trouble_ = error;
  const bool back = job_.record.backwards();
  const bool give_up = tries_ >= world_.settings.attempts;
  const bool cancelled = job_.row.cancel_requested && !back;
  if (cancelled && !is_unclear(error)) {
    go_back(Error(Code::Cancelled, "CANCELLED", "the job was cancelled"));
  } else if (is_unclear(error) && !give_up) {
    in_doubt_ = true;
    ++tries_;
    save([this] { observe(); });
  } else if (!give_up && (back || job_.past_return() || is_transient(error))) {
    save([this] { back_off(); });
  } else if (back) {
    park(Cause::PARK_CAUSE_UNDO_FAILED, error);
  } else if (job_.past_return()) {
    park(Cause::PARK_CAUSE_FAILED, error);
  } else {
    go_back(error);
  }
}

void JobRun::go_back(const Error& error) {
  disarm();
  const int index = open_step();
  const int from = index >= 0 ? index : job_.step_count() - 1;
  if (index >= 0) {
    if (!step(index).error.is_set()) step(index).error = db::StoredError::of(error);
    mark(index, StepState::STATE_FAILED);
  }
  job_.row.error = db::StoredError::of(error);
  *job_.record.mutable_view()->mutable_error() = to_error_info(error);
  job_.record.set_backwards(true);
  job_.record.set_cancelling(job_.row.cancel_requested);
  job_.record.clear_park_cause();
  job_.row.state = to_word(v1::Job::STATE_ROLLING_BACK);
  in_doubt_ = false;
  tries_ = 1;
  trouble_.reset();
  mark_next_backward(from);
  save([this] { drive(); });
}

void JobRun::park(Cause::ParkCause cause, const Error& error) {
  disarm();
  job_.record.set_park_cause(cause);
  job_.row.state = to_word(v1::Job::STATE_PARKED);
  job_.row.error = db::StoredError::of(error);
  *job_.record.mutable_view()->mutable_error() = to_error_info(error);
  log::warning("job parked", error, {{"job", job_.row.uid}, {"kind", job_.row.kind}});
  save([this] {
    phase_ = Phase::Parked;
    // Its host may have come back while this was written.
    const bool away = job_.record.park_cause() == Cause::PARK_CAUSE_UNREACHABLE;
    if (away && world_.agents.is_connected(open_host())) unpark();
  });
}

void JobRun::unpark() {
  job_.record.clear_park_cause();
  const bool back = job_.record.backwards();
  job_.row.state = to_word(back ? v1::Job::STATE_ROLLING_BACK : v1::Job::STATE_RUNNING);
  if (!back) {
    job_.row.error = {};
    job_.record.mutable_view()->clear_error();
  }
  save([this] { drive(); });
}

void JobRun::end(v1::Job::State state) {
  job_.row.state = to_word(state);
  job_.row.finish_time = now();
  pending_.release_locks = true;
  if (state == v1::Job::STATE_SUCCEEDED) job_.row.error = {};
}

void JobRun::abandon() {
  disarm();
  pending_.effects.emplace_back(job_.plan->abandon_effect(), -1);
  job_.record.clear_park_cause();
  auto error = job_.row.error.is_set() ? job_.row.error.to_error()
                                       : Error(Code::Aborted, "ABANDONED", "the job was given up");
  if (error.reason() != "ABANDONED") error = std::move(error).during("given up by a person");
  job_.row.error = db::StoredError::of(error);
  *job_.record.mutable_view()->mutable_error() = to_error_info(error);
  if (const int index = open_step(); index >= 0) mark(index, StepState::STATE_FAILED);
  end(v1::Job::STATE_FAILED);
  save([this] { drive(); });
}

void JobRun::mark(int index, v1::JobStep::State state) {
  auto& row = step(index);
  row.state = to_word(state);
  if (state == StepState::STATE_RUNNING || state == StepState::STATE_UNDOING) {
    ++row.attempt;
    if (!row.start_time) row.start_time = now();
    row.finish_time.reset();
  } else if (state == StepState::STATE_PENDING) {
    row.attempt = 0;
    row.start_time.reset();
  } else {
    row.finish_time = now();
  }
  if (std::ranges::find(pending_.steps, index) == pending_.steps.end())
    pending_.steps.push_back(index);
}

void JobRun::mark_next_forward() {
  for (int i = 0; i < job_.step_count(); ++i) {
    if (job_.step_state(i) == StepState::STATE_DONE) continue;
    if (!job_.planned(i).host().empty()) return mark(i, StepState::STATE_RUNNING);
    mark(i, StepState::STATE_RUNNING);
    mark(i, StepState::STATE_DONE);
    pending_.effects.emplace_back(job_.planned(i).effect(), i);
  }
  end(v1::Job::STATE_SUCCEEDED);
}

void JobRun::mark_next_backward(int from) {
  for (int i = from; i >= 0; --i) {
    const auto state = job_.step_state(i);
    if (state == StepState::STATE_PENDING || state == StepState::STATE_UNDONE) continue;
    const auto& planned = job_.planned(i);
    if (planned.has_undo()) return mark(i, StepState::STATE_UNDOING);
    if (planned.host().empty() && !planned.undo_effect().empty()) {
      mark(i, StepState::STATE_UNDONE);
      pending_.effects.emplace_back(planned.undo_effect(), i);
    }
  }
  pending_.effects.emplace_back(job_.plan->undone_effect(), -1);
  end(job_.record.cancelling() ? v1::Job::STATE_CANCELLED : v1::Job::STATE_FAILED);
}

// ---------------------------------------------------------------- sending

void JobRun::drive() {
  if (job_.row.finish_time) {
    phase_ = Phase::Ended;
    return disarm();
  }
  if (!world_.agents.is_connected(open_host())) return wait_for_host();
  if (in_doubt_) return observe();
  send_step(open_host());
}

void JobRun::send_step(const std::string& host) {
  disarm();
  const bool back = job_.record.backwards();
  const auto& planned = job_.planned(open_step());
  if (tries_ > 1 || step(open_step()).attempt > 1) acknowledge(host, open_key());
  agent::v1::ConnectResponse message;
  auto& run = *message.mutable_run_step();
  run.set_key(open_key());
  run.set_epoch(world_.agents.epoch());
  run.set_attempt(static_cast<std::uint32_t>(step(open_step()).attempt));
  *run.mutable_action() = back ? planned.undo() : planned.action();
  in_doubt_ = true;
  sent_at_ = now();
  phase_ = Phase::Executing;
  world_.agents.send_now(host, message);
  arm(world_.settings.watchdog, &JobRun::on_watchdog);
  say((back ? "undoing: " : "") + planned.title());
}

void JobRun::observe() {
  if (!world_.agents.is_connected(open_host())) return wait_for_host();
  disarm();
  const auto& planned = job_.planned(open_step());
  agent::v1::ConnectResponse message;
  auto& ask = *message.mutable_observe_step();
  ask.set_key(open_key());
  *ask.mutable_action() = job_.record.backwards() ? planned.undo() : planned.action();
  phase_ = Phase::Observing;
  world_.agents.send_now(open_host(), message);
  arm(world_.settings.watchdog, &JobRun::on_watchdog);
}

void JobRun::wait_for_host() {
  if (phase_ == Phase::WaitingHost && timer_ != 0) return;
  phase_ = Phase::WaitingHost;
  arm(world_.settings.unreachable_grace, &JobRun::on_grace);
  say("waiting for host " + job_.planned(open_step()).host_display_name());
}

void JobRun::back_off() {
  phase_ = Phase::Backoff;
  const auto delay = world_.settings.first_backoff * (1 << std::min(tries_ - 1, 6));
  ++tries_;
  arm(delay, &JobRun::on_backoff);
  say("trying again: " + job_.planned(open_step()).title());
}

void JobRun::on_backoff() {
  in_doubt_ = false;
  ++step(open_step()).attempt;
  pending_.steps.push_back(open_step());
  save([this] { drive(); });
}

void JobRun::on_watchdog() {
  observe();
}

void JobRun::on_grace() {
  const auto& host = job_.planned(open_step()).host_display_name();
  park(Cause::PARK_CAUSE_UNREACHABLE,
       Error(Code::Unavailable, "HOST_UNREACHABLE", "host '" + host + "' cannot be reached")
           .resource(host_name(open_host()))
           .remedy("bring the host or its agent back: the job then goes on by itself"));
}

void JobRun::acknowledge(const std::string& host_uid, const std::string& key) {
  agent::v1::ConnectResponse message;
  message.mutable_acknowledge_results()->add_keys(key);
  world_.agents.send_now(host_uid, message);
}

}  // namespace reeve::server
