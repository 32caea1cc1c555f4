// agent/executor/executor.h - runs the steps a server asks for.
//
// Promises: a key never runs twice at the same time; steps on one guest or image take turns in the
// order they came; different ones run side by side. A result is on the disk before it is reported,
// and is reported again after every reconnect until the server acknowledges it. What became of a
// step is answered by looking at the world, never from memory alone.
//
// Lives on the loop; only step.h's advance() and the outbox run on workers.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/executor/gate.h"
#include "agent/executor/step.h"
#include "agent/link/outbox.h"
#include "base/loop.h"
#include "base/thread.h"
#include "reeve/agent/v1/link_service.pb.h"

namespace reeve::agent {

inline constexpr std::size_t kMaxQueuedSteps = 4096;

/// Where the executor reports; called on the loop.
struct StepReports {
  std::function<void(const v1::StepResult&)> finished{};
  std::function<void(const v1::StepProgress&)> progress{};
  /// How a guest looks after a step on it, before the step is reported as finished.
  std::function<void(const GuestRef&, const Result<GuestSeen>&)> looked_at{};
  /// An image came or went.
  std::function<void()> images_changed{};
};

class Executor {
 public:
  /// `loop`, `workers` and `outbox` outlive the executor.
  Executor(Loop& loop, Workers& workers, StepWorld world, Outbox& outbox, StepReports reports);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Results of an earlier life, from Outbox::load(). Before anything else.
  void restore(std::vector<std::pair<std::uint64_t, v1::StepResult>> results);
  void run(const v1::RunStep& request);
  void cancel(const std::string& key);
  void observe(const v1::ObserveStep& request, std::function<void(v1::StepSeen)> answer);
  void acknowledge(const std::vector<std::string>& keys);
  /// Not yet acknowledged, oldest first.
  std::vector<v1::StepResult> unacknowledged() const;
  std::size_t running() const { return runs_.size(); }

 private:
  struct Run;
  struct Kept {
    std::uint64_t number = 0;  ///< 0: the outbox could not keep it
    v1::StepResult result{};
  };

  void begin(const std::shared_ptr<Run>& run);
  void advance(const std::shared_ptr<Run>& run);
  void advanced(const std::shared_ptr<Run>& run, Result<Advance> how);
  void finish(const std::shared_ptr<Run>& run, const Result<Facts>& facts);
  void keep(const std::shared_ptr<Run>& run, v1::StepResult result);
  void kept(const std::shared_ptr<Run>& run, const v1::StepResult& result,
            Result<std::uint64_t> number);
  void next_of(const std::string& subject);

  Workers& workers_;
  Outbox& outbox_;
  const std::shared_ptr<const StepWorld> world_;
  const StepReports reports_;
  const std::shared_ptr<Gate> gate_;
  std::map<std::string, std::shared_ptr<Run>> runs_{};                  ///< by key
  std::map<std::string, std::deque<std::shared_ptr<Run>>> subjects_{};  ///< front runs
  std::map<std::string, Kept> unacknowledged_{};                        ///< by key
};

}  // namespace reeve::agent
