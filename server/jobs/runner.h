// server/jobs/runner.h - accepts requests as jobs and drives every unfinished job.
//
// submit(): the calling thread checks fields and draws ids; the writer's thread compiles and stores
// the plan in one transaction, so there is nothing between check and act; the core loop executes
// it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "db/readers.h"
#include "server/app/caller.h"
#include "server/jobs/job_run.h"
#include "server/jobs/progress_board.h"

namespace reeve::server {

/// All of it outlives the runner.
struct RunnerParts {
  Loop& loop;
  db::Writer& writer;
  db::Readers& readers;
  Random& random;
  AgentPort& agents;
  db::HashFunction sha256{};
  RunnerSettings settings{};
  /// A job's live progress changed; core loop.
  std::function<void(const v1::Job& job)> on_progress{};
};

class Runner final : public AgentReports {
 public:
  explicit Runner(RunnerParts parts);
  ~Runner() override;

  /// Takes up what a restart found. Core loop, before agents are let in.
  void recover(std::vector<LoadedJob> jobs);

  /// Any thread. The reply comes after the commit; a repeated request_id answers with the same job.
  void submit(const Caller& caller, JobRequest request, Reply<v1::Job> reply);
  /// Any thread; see JobRun. NotFound/JOB_NOT_FOUND.
  void cancel(const Caller& caller, const std::string& uid, Reply<v1::Job> reply);
  void resolve(const Caller& caller, const std::string& uid, const std::string& choice,
               Reply<v1::Job> reply);
  /// Any thread. Replies when the job has ended or is parked, or after `timeout`, as it is then.
  void wait(const std::string& uid, std::chrono::milliseconds timeout, Reply<v1::Job> reply);
  const ProgressBoard& progress() const { return board_; }

  void agent_connected(const std::string& host_uid) override;
  void agent_lost(const std::string& host_uid) override;
  void step_result(const std::string& host_uid, const agent::v1::StepResult& result) override;
  void step_progress(const std::string& host_uid, const agent::v1::StepProgress& progress) override;
  void step_seen(const std::string& host_uid, const agent::v1::StepSeen& seen) override;

  std::size_t unfinished() const { return runs_.size(); }

 private:
  struct Waiter {
    Reply<v1::Job> reply{};
    TimerId timer = 0;
  };

  void adopt(LoadedJob job);
  void on_changed(const LoadedJob& job);
  void answer_waiters(const std::string& uid, const v1::Job& view);
  JobRun* find(const std::string& key);
  template <class Event>
  void each_run(Event event);
  Result<v1::Job> stored_view(const std::string& uid);

  RunnerParts parts_;
  ProgressBoard board_;
  JobWorld world_;
  std::map<std::string, std::shared_ptr<JobRun>> runs_{};
  std::multimap<std::string, std::shared_ptr<Waiter>> waiters_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< false once destroyed; core loop
};

}  // namespace reeve::server
