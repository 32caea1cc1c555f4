// server/jobs/job_run.h - one unfinished job: a state machine on the core loop, fed by events.
//
//                    commit              RunStep               result
//   Committing ────────────► Executing ─────────► (agent) ─────────────► Committing ─► ... ─► Ended
//        │  host away            │ host lost                                  │
//        └──────► WaitingHost ◄──┘        Backoff: a failed step is sent again later
//                  │   ▲ │ host back: what was sent is in doubt
//          too long│   │ └──────────► Observing ── StepSeen, kinds.h decides ──► Committing /
//          Executing
//                  ▼   │
//                 Parked ── a person resolves, or the host is back
//
// While a transaction is under way every event waits; so each event meets a durable state. Results
// are acknowledged to the agent only after the transaction that journals them.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "db/writer.h"
#include "reeve/agent/v1/link_service.pb.h"
#include "server/app/caller.h"
#include "server/app/mac_pool.h"
#include "server/jobs/agent_port.h"
#include "server/jobs/journal.h"
#include "server/jobs/kinds.h"

namespace reeve::server {

struct RunnerSettings {
  std::chrono::milliseconds unreachable_grace{120'000};
  /// A step that neither ended nor made progress for this long is looked at.
  std::chrono::milliseconds watchdog{60'000};
  std::chrono::milliseconds first_backoff{1000};  ///< doubles with every attempt
  int attempts = 5;
  std::chrono::milliseconds write_retry{1000};  ///< after a refused journal write
  MacPool macs{};                               ///< network cards without an address get one of it
};

/// What a JobRun works with; all of it outlives the run.
struct JobWorld {
  Loop& loop;
  db::Writer& writer;
  AgentPort& agents;
  const db::HashFunction& sha256;
  const RunnerSettings& settings;
  std::function<void(const std::string& job_uid, v1::Progress)> progress{};
  /// After every durable change; `ended` with the last one.
  std::function<void(const LoadedJob& job)> changed{};
};

class JobRun : public std::enable_shared_from_this<JobRun> {
 public:
  JobRun(JobWorld& world, LoadedJob job) : world_(world), job_(std::move(job)) {}
  ~JobRun();
  JobRun(const JobRun&) = delete;
  JobRun& operator=(const JobRun&) = delete;

  /// Accepted just now and durable: nothing was sent yet.
  void begin();
  /// Loaded after a restart: what was under way is in doubt.
  void recover();

  void host_connected(const std::string& host_uid);
  void host_lost(const std::string& host_uid);
  void result(const std::string& host_uid, const agent::v1::StepResult& result);
  void seen(const std::string& host_uid, const agent::v1::StepSeen& seen);
  void progress(const std::string& host_uid, const agent::v1::StepProgress& progress);

  /// FailedPrecondition/JOB_NOT_CANCELLABLE or JOB_ENDED. Replies when the wish is durable.
  void cancel(std::vector<db::AuditEntry> audit, Reply<v1::Job> reply);
  /// FailedPrecondition/JOB_NOT_PARKED, InvalidArgument/NO_SUCH_CHOICE. Replies when durable.
  void resolve(const std::string& choice, std::vector<db::AuditEntry> audit, Reply<v1::Job> reply);

  const LoadedJob& job() const { return job_; }
  bool has_ended() const { return phase_ == Phase::Ended; }
  /// True when nothing is being written: what job() says is what the database says.
  bool is_settled() const { return phase_ != Phase::Committing; }

 private:
  enum class Phase { Idle, Committing, WaitingHost, Executing, Observing, Backoff, Parked, Ended };
  using Cause = journal::v1::JobRecord;

  // What is next. Each changes job_ in memory, then saves.
  void step_done(const FactMap& facts);
  void step_undone();
  void step_failed(const Error& error);
  void go_back(const Error& error);
  void park(Cause::ParkCause cause, const Error& error);
  void unpark();
  void end(v1::Job::State state);
  void abandon();
  void mark_next_forward();
  void mark_next_backward(int from);
  void mark(int index, v1::JobStep::State state);

  // Sending.
  void drive();
  void send_step(const std::string& host);
  void observe();
  void wait_for_host();
  void back_off();
  void decide_seen(const agent::v1::StepSeen& seen);
  void acknowledge(const std::string& host_uid, const std::string& key);

  // Writing.
  void save(std::function<void()> then);
  void submit(std::shared_ptr<JobWrite> write, std::function<void()> then);
  void saved(const std::shared_ptr<JobWrite>& write, const Status& outcome,
             const std::function<void()>& then);
  /// Runs `event` now, or when the transaction under way has ended.
  void when_settled(Task event);
  void drain();

  int open_step() const;  ///< RUNNING or UNDOING; -1 when none
  std::string open_key() const;
  const std::string& open_host() const;
  bool is_open(const std::string& host_uid, const std::string& key) const;
  Direction direction() const {
    return job_.record.backwards() ? Direction::Backward : Direction::Forward;
  }
  WallTime now() const { return world_.loop.clock().wall(); }
  void arm(std::chrono::milliseconds delay, void (JobRun::*handler)());
  void disarm();
  void on_watchdog();
  void on_grace();
  void on_backoff();
  void say(std::string phase);
  db::JobStep& step(int index) { return job_.steps[static_cast<std::size_t>(index)]; }

  JobWorld& world_;
  LoadedJob job_;
  Phase phase_ = Phase::Idle;
  JobWrite pending_{};              ///< what the next save writes beside job_
  bool in_doubt_ = false;           ///< the open step was sent, or may have been
  int tries_ = 0;                   ///< of the open step in this direction
  std::optional<Error> trouble_{};  ///< last failure of the open step
  TimerId timer_ = 0;
  std::deque<Task> waiting_{};    ///< events that came while a transaction was under way
  std::vector<Task> on_saved_{};  ///< once it is durable, before anything else
  std::optional<WallTime> sent_at_{};
  std::optional<WallTime> blind_since_{};  ///< the agent has not been able to look since
};

}  // namespace reeve::server
