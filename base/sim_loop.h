// base/sim_loop.h - a whole world's loops in one thread under a seed, with virtual time.
//
// A SimWorld owns time and every runnable task of all its SimLoops. step() picks one runnable task
// at random (by seed) among the heads of the loops, so order within a loop holds and every
// interleaving between loops can happen; when nothing is runnable, time jumps to the next timer.
//
// Single-threaded: nothing here is safe to call from another thread.
#pragma once

#include <deque>
#include <set>

#include "base/loop.h"
#include "base/random.h"

namespace reeve {

class SimLoop;

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed);

  SeededRandom& random() { return random_; }
  const Clock& clock() const { return clock_; }

  /// Runs one task, jumping in time if need be. False when nothing is left to run.
  bool step();
  /// Steps until `done()` holds, or `limit` of virtual time has passed, or the world is idle.
  /// True when `done()` holds.
  bool run_until(const std::function<bool()>& done, std::chrono::microseconds limit);
  /// Steps for `duration` of virtual time.
  void run_for(std::chrono::microseconds duration);
  /// Moves wall time alone, as an administrator or NTP would.
  void jump_wall(std::chrono::microseconds by) { clock_.wall_offset += by; }

 private:
  friend class SimLoop;
  struct SimClock final : Clock {
    std::chrono::microseconds now{0};
    std::chrono::microseconds wall_offset{std::chrono::seconds(1'800'000'000)};
    WallTime wall() const override { return WallTime(now + wall_offset); }
    Monotonic monotonic() const override { return Monotonic(now); }
  };

  bool advance_to_next_timer(std::chrono::microseconds limit);

  SimClock clock_;
  SeededRandom random_;
  std::vector<SimLoop*> loops_;
  TimerId next_timer_ = 1;
};

/// One loop of a SimWorld. Destroying it drops its tasks and timers: that is what a crash does.
class SimLoop final : public Loop {
 public:
  explicit SimLoop(SimWorld& world);
  ~SimLoop() override;
  SimLoop(const SimLoop&) = delete;
  SimLoop& operator=(const SimLoop&) = delete;

  void post(Task task) override;
  TimerId post_after(std::chrono::microseconds delay, Task task) override;
  void cancel(TimerId timer) override;
  const Clock& clock() const override { return world_.clock_; }

 private:
  friend class SimWorld;
  SimWorld& world_;
  std::deque<Task> queue_;
  std::map<std::pair<std::chrono::microseconds, TimerId>, Task> timers_;
};

}  // namespace reeve
