// tests/agent/guest/hand_clock.h - a clock that the test moves.
#pragma once

#include <chrono>

#include "base/clock.h"

namespace reeve::agent {

class HandClock final : public Clock {
 public:
  WallTime wall() const override { return WallTime(now_); }
  Monotonic monotonic() const override { return Monotonic(now_); }
  void advance(std::chrono::milliseconds by) { now_ += by; }

 private:
  std::chrono::microseconds now_{std::chrono::seconds(1)};
};

}  // namespace reeve::agent
