// server/auth/attempt_limiter.h - how many failed attempts an address has left. Any thread.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"

namespace reeve::server {

/// Each address may fail `most` times per `window`; then it waits for the window to end. Remembers
/// at most kMostAddresses; beyond that the oldest are forgotten.
class AttemptLimiter {
 public:
  static constexpr std::size_t kMostAddresses = 4096;

  AttemptLimiter(const Clock& clock, int most, std::chrono::seconds window)
      : clock_(clock), most_(most), window_(window) {}

  /// ResourceExhausted/TOO_MANY_ATTEMPTS.
  Status check(std::string_view address);
  void failed(std::string_view address);

 private:
  struct Entry {
    Monotonic since{};
    int failures = 0;
  };
  const Clock& clock_;  // outlives the limiter
  const int most_;
  const std::chrono::seconds window_;
  Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
