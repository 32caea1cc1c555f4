#include "agent/executor/executor.h"

#include <algorithm>

#include "agent/executor/convert.h"
#include "base/log.h"

namespace reeve::agent {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{200};

v1::StepResult result_of(const std::string& key, std::uint32_t attempt,
                         const Result<Facts>& facts) {
  v1::StepResult result;
  result.set_key(key);
  result.set_attempt(attempt);
  if (!facts.ok()) {
    *result.mutable_error() = to_proto(facts.error());
    return result;
  }
  for (const auto& [name, value] : facts.value()) (*result.mutable_facts())[name] = value;
  return result;
}

bool is_about_image(const v1::Action& action) {
  return action.has_import_image() || action.has_remove_image();
}

}  // namespace

/// One step from arrival to its result in the outbox.
struct Executor::Run {
  std::string key{};
  std::uint32_t attempt = 0;
  std::string subject{};
  v1::Action action{};
  std::unique_ptr<Step> step{};
  std::atomic<bool> cancelled{false};
  bool begun = false;
  Monotonic progress_at{};  ///< of the worker that advances
};

Executor::Executor(Loop& loop, Workers& workers, StepWorld world, Outbox& outbox,
                   StepReports reports)
    : workers_(workers),
      outbox_(outbox),
      world_(std::make_shared<const StepWorld>(std::move(world))),
      reports_(std::move(reports)),
      gate_(Gate::create(loop)) {}

Executor::~Executor() {
  gate_->close();
  for (const auto& [key, run] : runs_) run->cancelled = true;
}

void Executor::restore(std::vector<std::pair<std::uint64_t, v1::StepResult>> results) {
  for (auto& [number, result] : results) {
    const std::string key = result.key();
    unacknowledged_.insert_or_assign(key, Kept{number, std::move(result)});
  }
}

void Executor::run(const v1::RunStep& request) {
  const std::string& key = request.key();
  if (const auto it = runs_.find(key); it != runs_.end()) {  // its result follows
    it->second->attempt = std::max(it->second->attempt, request.attempt());
    return;
  }
  if (const auto it = unacknowledged_.find(key); it != unacknowledged_.end()) {
    if (request.attempt() <= it->second.result.attempt())
      return reports_.finished(it->second.result);
    acknowledge({key});  // who asks for the next attempt has had the result of this one
  }
  auto valid = validate_key(key);
  if (valid.ok()) valid = validate_action(request.action(), world_->policy);
  if (valid.ok() && runs_.size() >= kMaxQueuedSteps)
    valid = Error{Code::ResourceExhausted, "AGENT_BUSY", "too many steps wait on this host"};
  if (!valid.ok()) {
    log::warning("step refused", valid.error(), {{"step", key.substr(0, 64)}});
    return reports_.finished(result_of(key, request.attempt(), std::move(valid).error()));
  }
  auto run = std::make_shared<Run>();
  run->key = key;
  run->attempt = request.attempt();
  run->subject = subject_of(request.action());
  run->action = request.action();
  run->step = make_step(run->action);
  runs_.emplace(key, run);
  auto& queue = subjects_[run->subject];
  queue.push_back(run);
  if (queue.size() == 1) begin(run);
}

void Executor::begin(const std::shared_ptr<Run>& run) {
  log::info("step begins", {{"step", run->key}, {"subject", run->subject}});
  run->begun = true;
  advance(run);
}

void Executor::advance(const std::shared_ptr<Run>& run) {
  workers_.run([this, run, world = world_, gate = gate_] {
    const auto progress = [&](std::string phase, std::int64_t done, std::int64_t total) {
      const auto now = world->clock->monotonic();
      if (run->progress_at != Monotonic{} && now - run->progress_at < kProgressInterval) return;
      run->progress_at = now;
      v1::StepProgress message;
      message.set_key(run->key);
      message.set_phase(std::move(phase));
      message.set_done(done);
      message.set_total(total);
      gate->post([this, message] { reports_.progress(message); });
    };
    StepContext context{*world, run->cancelled, progress};
    auto how = run->step->advance(context);
    gate->post([this, run, how = std::move(how)]() mutable { advanced(run, std::move(how)); });
  });
}

void Executor::advanced(const std::shared_ptr<Run>& run, Result<Advance> how) {
  if (!how.ok()) return finish(run, std::move(how).error());
  if (how.value().done) return finish(run, std::move(how).value().facts);
  gate_->post_after(how.value().again, [this, run] { advance(run); });
}

void Executor::finish(const std::shared_ptr<Run>& run, const Result<Facts>& facts) {
  if (facts.ok()) {
    log::info("step done", {{"step", run->key}, {"subject", run->subject}});
  } else {
    log::warning("step failed", facts.error(), {{"step", run->key}, {"subject", run->subject}});
  }
  keep(run, result_of(run->key, run->attempt, facts));
}

void Executor::keep(const std::shared_ptr<Run>& run, v1::StepResult result) {
  workers_.run([this, run, world = world_, gate = gate_, outbox = &outbox_,
                result = std::move(result)] {
    const GuestRef guest = guest_of(run->action);
    if (const auto driver = world->driver(guest.hypervisor); !guest.uid.empty() && driver.ok()) {
      auto seen = driver.value()->get(guest.uid);
      if (seen.ok()) note_saved_state(seen.value(), *world->store);
      gate->post([this, guest, seen = std::move(seen)] { reports_.looked_at(guest, seen); });
    }
    auto number = outbox->put(result);
    gate->post([this, run, result, number = std::move(number)] { kept(run, result, number); });
  });
}

void Executor::kept(const std::shared_ptr<Run>& run, const v1::StepResult& result,
                    Result<std::uint64_t> number) {
  if (!number.ok())
    log::error("a step's result is held in memory only", number.error(), {{"step", run->key}});
  unacknowledged_.insert_or_assign(run->key, Kept{number.ok() ? number.value() : 0, result});
  runs_.erase(run->key);
  if (is_about_image(run->action)) reports_.images_changed();
  reports_.finished(result);
  next_of(run->subject);
}

void Executor::next_of(const std::string& subject) {
  const auto it = subjects_.find(subject);
  if (it == subjects_.end()) return;
  it->second.pop_front();
  if (it->second.empty()) {
    subjects_.erase(it);
  } else {
    begin(it->second.front());
  }
}

void Executor::cancel(const std::string& key) {
  const auto it = runs_.find(key);
  if (it == runs_.end()) return;
  const auto run = it->second;
  run->cancelled = true;
  if (run->begun) return;
  // Not begun: it leaves the queue without having touched anything.
  auto& queue = subjects_[run->subject];
  queue.erase(std::find(queue.begin(), queue.end(), run));
  runs_.erase(it);
  const Result<Facts> cancelled =
      Error{Code::Cancelled, "STEP_CANCELLED", "cancelled before it began"};
  auto result = result_of(key, run->attempt, cancelled);
  unacknowledged_.insert_or_assign(key, Kept{0, result});
  reports_.finished(result);
}

void Executor::observe(const v1::ObserveStep& request, std::function<void(v1::StepSeen)> answer) {
  const auto reply = [key = request.key(), answer = std::move(answer)](v1::StepSeen seen) {
    seen.set_key(key);
    answer(std::move(seen));
  };
  v1::StepSeen seen;
  if (runs_.contains(request.key())) {
    seen.set_outcome(v1::StepSeen::OUTCOME_IN_PROGRESS);
    return reply(seen);
  }
  const auto it = unacknowledged_.find(request.key());
  if (it != unacknowledged_.end() && !it->second.result.has_error()) {
    seen.set_outcome(v1::StepSeen::OUTCOME_DONE);
    *seen.mutable_facts() = it->second.result.facts();
    return reply(seen);
  }
  if (auto valid = validate_action(request.action(), world_->policy); !valid.ok()) {
    seen.set_outcome(v1::StepSeen::OUTCOME_UNKNOWABLE);
    *seen.mutable_error() = to_proto(valid.error());
    return reply(seen);
  }
  // Another step may be at work on the same thing: what is seen now is what counts now.
  workers_.run([gate = gate_, world = world_, action = request.action(), reply] {
    auto looked = look(action, *world);
    gate->post([reply, looked = std::move(looked)] { reply(looked); });
  });
}

void Executor::acknowledge(const std::vector<std::string>& keys) {
  for (const auto& key : keys) {
    const auto it = unacknowledged_.find(key);
    if (it == unacknowledged_.end()) continue;
    const auto number = it->second.number;
    unacknowledged_.erase(it);
    if (number == 0) continue;
    workers_.run([outbox = &outbox_, number] {
      // A result that stays is sent once more after the next start: harmless.
      if (auto removed = outbox->remove(number); !removed.ok())
        log::warning("a result stays in the outbox", removed.error());
    });
  }
}

std::vector<v1::StepResult> Executor::unacknowledged() const {
  std::vector<const Kept*> kept;
  for (const auto& [key, entry] : unacknowledged_) kept.push_back(&entry);
  std::stable_sort(kept.begin(), kept.end(),
                   [](const Kept* a, const Kept* b) { return a->number < b->number; });
  std::vector<v1::StepResult> results;
  for (const auto* entry : kept) results.push_back(entry->result);
  return results;
}

}  // namespace reeve::agent
