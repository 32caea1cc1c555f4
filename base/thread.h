// base/thread.h - a bounded pool of named worker threads for calls that block.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/loop.h"
#include "base/mutex.h"

namespace reeve {

/// Where blocking work goes: a WorkerPool in daemons, inline on a SimLoop in simulations.
class Workers {
 public:
  virtual ~Workers() = default;
  /// Runs `work` off the loop, in no particular order. Any thread.
  virtual void run(Task work) = 0;
};

class WorkerPool final : public Workers {
 public:
  /// `name` of at most 12 characters; threads are called name-0, name-1, ...
  WorkerPool(std::string name, std::size_t threads);
  ~WorkerPool() override;  ///< finishes what runs, drops what waits
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void run(Task work) override;
  std::size_t waiting() const;

 private:
  void serve();

  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<Task> queue_ REEVE_GUARDED_BY(mutex_);
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

/// Runs work as tasks of a loop: for simulations, where blocking calls return at once.
class LoopWorkers final : public Workers {
 public:
  explicit LoopWorkers(Loop& loop) : loop_(loop) {}
  void run(Task work) override { loop_.post(std::move(work)); }

 private:
  Loop& loop_;  // outlives the workers
};

}  // namespace reeve
