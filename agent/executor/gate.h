// agent/executor/gate.h - lets other threads post to a loop for as long as the owner of the gate
// lives.
//
// Workers, drivers and connections may answer after the object that asked is gone (shutdown, a
// simulated crash). They keep a shared_ptr to its gate; once closed, everything posted through it
// is dropped, also what already waits in the loop's queue.
#pragma once

#include <chrono>
#include <memory>
#include <utility>

#include "base/loop.h"
#include "base/mutex.h"

namespace reeve::agent {

class Gate : public std::enable_shared_from_this<Gate> {
 public:
  /// `loop` outlives the open gate.
  static std::shared_ptr<Gate> create(Loop& loop) { return std::shared_ptr<Gate>(new Gate(loop)); }

  /// Any thread.
  void post(Task task) {
    Lock lock(mutex_);
    if (loop_) loop_->post(guarded(std::move(task)));
  }
  /// Any thread. 0 when closed.
  TimerId post_after(std::chrono::microseconds delay, Task task) {
    Lock lock(mutex_);
    return loop_ ? loop_->post_after(delay, guarded(std::move(task))) : 0;
  }
  void cancel(TimerId timer) {
    Lock lock(mutex_);
    if (loop_ && timer != 0) loop_->cancel(timer);
  }
  /// From the loop's thread, or when its thread has ended: nothing posted here runs afterwards.
  void close() {
    Lock lock(mutex_);
    loop_ = nullptr;
  }

 private:
  explicit Gate(Loop& loop) : loop_(&loop) {}

  bool is_open() {
    Lock lock(mutex_);
    return loop_ != nullptr;
  }
  Task guarded(Task task) {
    return [gate = shared_from_this(), task = std::move(task)] {
      if (gate->is_open()) task();
    };
  }

  Mutex mutex_;
  Loop* loop_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::agent
