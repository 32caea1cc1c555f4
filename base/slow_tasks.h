// base/slow_tasks.h - which of a loop's slow tasks are worth a line in the log.
//
// Bounded, because what makes a task slow may be a guest's doing, or last for hours: at most one
// line a minute for each loop. The next line says what was left out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace reeve {

/// Not thread-safe: one for each loop, used on its thread.
class SlowTasks {
 public:
  static constexpr auto kSlow = std::chrono::milliseconds(5);  ///< more is
  static constexpr auto kPause = std::chrono::minutes(1);      ///< between two lines

  struct Line {
    std::chrono::microseconds took{};
    std::uint64_t left_out = 0;  ///< slow tasks since the last line
    std::chrono::microseconds worst_left_out{};
  };
  /// A task that ended at `now` took so long; what to say about it, if anything.
  std::optional<Line> note(Monotonic now, std::chrono::nanoseconds took);

 private:
  std::optional<Monotonic> last_line_{};
  std::uint64_t left_out_ = 0;
  std::chrono::microseconds worst_{};
};

}  // namespace reeve
