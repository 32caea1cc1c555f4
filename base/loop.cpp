#include "base/loop.h"

#include <pthread.h>

#include "base/check.h"
#include "base/log.h"
#include "base/slow_tasks.h"

namespace reeve {

ThreadLoop::ThreadLoop(std::string name) : name_(std::move(name)) {
  REEVE_CHECK(name_.size() <= 15);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), name_.c_str());
    run();
  });
}

ThreadLoop::~ThreadLoop() {
  stop();
}

void ThreadLoop::post(Task task) {
  Lock lock(mutex_);
  if (stopping_) return;
  queue_.push_back(std::move(task));
  wake_.notify_one();
}

TimerId ThreadLoop::post_after(std::chrono::microseconds delay, Task task) {
  Lock lock(mutex_);
  const TimerId id = next_timer_++;
  if (stopping_) return id;
  const auto due = clock().monotonic() + delay;
  timers_.emplace(std::pair{due, id}, std::move(task));
  due_.emplace(id, due);
  wake_.notify_one();
  return id;
}

void ThreadLoop::cancel(TimerId timer) {
  if (timer == 0) return;
  Lock lock(mutex_);
  const auto due = due_.find(timer);
  if (due == due_.end()) return;
  timers_.erase({due->second, timer});
  due_.erase(due);
}

void ThreadLoop::stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    timers_.clear();
    due_.clear();
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void ThreadLoop::run_and_wait(Task task) {
  REEVE_CHECK(!on_loop_thread());
  Mutex mutex;
  CondVar done_cv;
  bool done = false;
  post([&] {
    task();
    Lock lock(mutex);
    done = true;
    done_cv.notify_one();
  });
  Lock lock(mutex);
  while (!done) done_cv.wait(lock);
}

void ThreadLoop::run() {
  std::vector<Task> ready;
  for (;;) {
    {
      Lock lock(mutex_);
      for (;;) {
        const auto now = clock().monotonic();
        // One due timer at a time: it may cancel the next one.
        if (!timers_.empty() && timers_.begin()->first.first <= now) {
          ready.push_back(std::move(timers_.begin()->second));
          due_.erase(timers_.begin()->first.second);
          timers_.erase(timers_.begin());
        }
        if (ready.empty()) ready.swap(queue_);
        if (!ready.empty()) break;
        if (stopping_) return;
        if (timers_.empty()) {
          wake_.wait(lock);
        } else {
          wake_.wait_for(lock, timers_.begin()->first.first - now);
        }
      }
    }
    for (auto& task : ready) run_task(task);
    ready.clear();
  }
}

void ThreadLoop::run_task(Task& task) const {
  thread_local SlowTasks slow_tasks;  // a loop is a thread
  const auto begin = clock().monotonic();
  task();
  const auto end = clock().monotonic();
  const auto line = slow_tasks.note(end, end - begin);
  if (!line) return;
  log::warning("slow task on loop", {{"loop", name_},
                                     {"micros", line->took.count()},
                                     {"left_out", line->left_out},
                                     {"worst_left_out_micros", line->worst_left_out.count()}});
}

}  // namespace reeve
