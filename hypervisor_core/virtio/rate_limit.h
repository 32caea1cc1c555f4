// hypervisor_core/virtio/rate_limit.h - token buckets that bound what a device does per second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "base/mutex.h"

namespace reeve::core::virtio {

/// 0 means no limit. A burst of one second's worth is allowed.
struct RateLimit {
  std::uint64_t bytes_per_second = 0;
  std::uint64_t operations_per_second = 0;
  bool operator==(const RateLimit&) const = default;
};

/// Shared by the queues of a device. Thread-safe.
class RateLimiter {
 public:
  explicit RateLimiter(const Clock& clock = RealClock::instance()) : clock_(clock) {}

  void set(RateLimit limit) {
    Lock lock(mutex_);
    limit_ = limit;
    bytes_ = static_cast<double>(limit.bytes_per_second);
    operations_ = static_cast<double>(limit.operations_per_second);
    last_ = clock_.monotonic();
  }
  RateLimit limit() const {
    Lock lock(mutex_);
    return limit_;
  }

  /// Takes one operation of `bytes`. Zero: go ahead. Else nothing was taken; ask again after that
  /// long. An operation larger than a second's worth goes ahead on a full bucket and leaves a debt.
  std::chrono::microseconds take(std::uint64_t bytes) {
    Lock lock(mutex_);
    if (limit_ == RateLimit{}) return {};
    refill();
    const auto wait =
        std::max(wait_for(limit_.bytes_per_second, bytes_, static_cast<double>(bytes)),
                 wait_for(limit_.operations_per_second, operations_, 1));
    if (wait.count() > 0) return wait;
    bytes_ -= static_cast<double>(bytes);
    operations_ -= 1;
    return {};
  }

 private:
  void refill() REEVE_REQUIRES(mutex_) {
    const auto now = clock_.monotonic();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    const auto fill = [seconds](double& level, std::uint64_t rate) {
      level = std::min(level + seconds * static_cast<double>(rate), static_cast<double>(rate));
    };
    fill(bytes_, limit_.bytes_per_second);
    fill(operations_, limit_.operations_per_second);
  }
  static std::chrono::microseconds wait_for(std::uint64_t rate, double level, double wanted) {
    if (rate == 0) return {};
    const double missing = std::min(wanted, static_cast<double>(rate)) - level;
    if (missing <= 0) return {};
    return std::chrono::microseconds(
        static_cast<std::int64_t>(missing * 1e6 / static_cast<double>(rate)) + 1);
  }

  const Clock& clock_;  // outlives the limiter
  mutable Mutex mutex_;
  RateLimit limit_ REEVE_GUARDED_BY(mutex_){};
  double bytes_ REEVE_GUARDED_BY(mutex_) = 0;
  double operations_ REEVE_GUARDED_BY(mutex_) = 0;
  Monotonic last_ REEVE_GUARDED_BY(mutex_){};
};

}  // namespace reeve::core::virtio
