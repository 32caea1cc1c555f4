// base/loop.h - the single-threaded executor that owns mutable state in the server and the agent.
//
// Everything posted runs on one thread, in order, one at a time. Nothing on a loop blocks: work
// that may block goes to a WorkerPool (base/thread.h), which posts its result back. The same code
// runs on a ThreadLoop in the daemons and on a SimLoop (base/sim_loop.h, virtual time, seeded
// order) in tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace reeve {

using Task = std::function<void()>;
using TimerId = std::uint64_t;  ///< never 0 for a live timer

class Loop {
 public:
  virtual ~Loop() = default;
  /// Runs `task` soon. Any thread.
  virtual void post(Task task) = 0;
  /// Runs `task` once after `delay`. Any thread.
  virtual TimerId post_after(std::chrono::microseconds delay, Task task) = 0;
  /// Forgets a timer; a no-op when it has run or is 0. On the loop's thread a cancelled task never
  /// runs.
  virtual void cancel(TimerId timer) = 0;
  virtual const Clock& clock() const = 0;
};

/// A Loop on a thread of its own. Tasks over 5 ms are logged as warnings with the loop's name, in a
/// line a minute at most (base/slow_tasks.h).
class ThreadLoop final : public Loop {
 public:
  /// `name` is the thread's name: at most 15 characters.
  explicit ThreadLoop(std::string name);
  ~ThreadLoop() override;  ///< stop()
  ThreadLoop(const ThreadLoop&) = delete;
  ThreadLoop& operator=(const ThreadLoop&) = delete;

  void post(Task task) override;
  TimerId post_after(std::chrono::microseconds delay, Task task) override;
  void cancel(TimerId timer) override;
  const Clock& clock() const override { return RealClock::instance(); }

  /// Runs what is queued, drops timers, joins the thread. Later posts are dropped. Not from the
  /// loop.
  void stop();
  /// Posts `task` and waits for it. Not from the loop itself.
  void run_and_wait(Task task);
  bool on_loop_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  void run();
  void run_task(Task& task) const;

  const std::string name_;
  Mutex mutex_;
  CondVar wake_;
  std::vector<Task> queue_ REEVE_GUARDED_BY(mutex_);
  std::map<std::pair<Monotonic, TimerId>, Task> timers_ REEVE_GUARDED_BY(mutex_);
  std::unordered_map<TimerId, Monotonic> due_ REEVE_GUARDED_BY(mutex_);  ///< of those in timers_
  TimerId next_timer_ REEVE_GUARDED_BY(mutex_) = 1;
  bool stopping_ REEVE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace reeve
