// base/clock.h - where time comes from. Wall time for records, monotonic time for timeouts.
#pragma once

#include <chrono>
#include <string>

namespace reeve {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
using Monotonic = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual Monotonic monotonic() const = 0;
};

/// The machine's clocks. Stateless; shared freely between threads.
class RealClock final : public Clock {
 public:
  WallTime wall() const override;
  Monotonic monotonic() const override;
  static const RealClock& instance();
};

/// Microseconds since 1970 UTC, as stored in the database.
inline std::int64_t to_micros(WallTime t) {
  return t.time_since_epoch().count();
}
inline WallTime from_micros(std::int64_t us) {
  return WallTime(std::chrono::microseconds(us));
}
/// RFC 3339 in UTC with microseconds, e.g. "2026-11-21T08:15:30.000250Z".
std::string to_rfc3339(WallTime t);

}  // namespace reeve
