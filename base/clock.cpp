#include "base/clock.h"

#include <ctime>

#include <fmt/format.h>

namespace reeve {

WallTime RealClock::wall() const {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

Monotonic RealClock::monotonic() const {
  return std::chrono::steady_clock::now();
}

const RealClock& RealClock::instance() {
  static const RealClock clock;
  return clock;
}

std::string to_rfc3339(WallTime t) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(t);
  const auto micros = (t - seconds).count();
  const std::time_t raw = seconds.time_since_epoch().count();
  std::tm tm{};
  gmtime_r(&raw, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, micros);
}

}  // namespace reeve
