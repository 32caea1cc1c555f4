#include "base/slow_tasks.h"

#include <algorithm>
#include <utility>

namespace reeve {

std::optional<SlowTasks::Line> SlowTasks::note(Monotonic now, std::chrono::nanoseconds took) {
  if (took <= kSlow) return std::nullopt;
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(took);
  if (last_line_ && now - *last_line_ < kPause) {
    ++left_out_;
    worst_ = std::max(worst_, micros);
    return std::nullopt;
  }
  last_line_ = now;
  return Line{.took = micros,
              .left_out = std::exchange(left_out_, 0),
              .worst_left_out = std::exchange(worst_, {})};
}

}  // namespace reeve
