#include "base/sim_loop.h"

#include <algorithm>

namespace reeve {

SimWorld::SimWorld(std::uint64_t seed) : random_(seed) {}

bool SimWorld::advance_to_next_timer(std::chrono::microseconds limit) {
  SimLoop* earliest = nullptr;
  for (auto* loop : loops_) {
    if (loop->timers_.empty()) continue;
    if (!earliest || loop->timers_.begin()->first < earliest->timers_.begin()->first)
      earliest = loop;
  }
  if (!earliest || earliest->timers_.begin()->first.first > limit) return false;
  auto first = earliest->timers_.begin();
  clock_.now = std::max(clock_.now, first->first.first);
  earliest->queue_.push_back(std::move(first->second));
  earliest->timers_.erase(first);
  return true;
}

bool SimWorld::step() {
  for (;;) {
    std::vector<SimLoop*> runnable;
    for (auto* loop : loops_)
      if (!loop->queue_.empty()) runnable.push_back(loop);
    if (!runnable.empty()) {
      auto* loop = runnable[random_.below(runnable.size())];
      Task task = std::move(loop->queue_.front());
      loop->queue_.pop_front();
      task();  // may destroy `loop`
      return true;
    }
    if (!advance_to_next_timer(std::chrono::microseconds::max())) return false;
  }
}

bool SimWorld::run_until(const std::function<bool()>& done, std::chrono::microseconds limit) {
  const auto deadline = clock_.now + limit;
  while (!done()) {
    if (clock_.now >= deadline || !step()) return done();
  }
  return true;
}

void SimWorld::run_for(std::chrono::microseconds duration) {
  const auto deadline = clock_.now + duration;
  for (;;) {
    const bool runnable = std::any_of(loops_.begin(), loops_.end(),
                                      [](const SimLoop* loop) { return !loop->queue_.empty(); });
    if (!runnable && !advance_to_next_timer(deadline)) break;
    step();
  }
  clock_.now = std::max(clock_.now, deadline);
}

SimLoop::SimLoop(SimWorld& world) : world_(world) {
  world_.loops_.push_back(this);
}

SimLoop::~SimLoop() {
  std::erase(world_.loops_, this);
}

void SimLoop::post(Task task) {
  queue_.push_back(std::move(task));
}

TimerId SimLoop::post_after(std::chrono::microseconds delay, Task task) {
  const TimerId id = world_.next_timer_++;
  timers_.emplace(std::pair{world_.clock_.now + std::max(delay, std::chrono::microseconds(0)), id},
                  std::move(task));
  return id;
}

void SimLoop::cancel(TimerId timer) {
  std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer; });
}

}  // namespace reeve
