#include "server/auth/attempt_limiter.h"

#include <algorithm>

namespace reeve::server {

Status AttemptLimiter::check(std::string_view address) {
  Lock lock(mutex_);
  const auto it = entries_.find(address);
  if (it == entries_.end() || it->second.failures < most_) return {};
  if (clock_.monotonic() - it->second.since >= window_) {
    entries_.erase(it);
    return {};
  }
  return Error{Code::ResourceExhausted, "TOO_MANY_ATTEMPTS",
               "too many failed attempts from this address"}
      .remedy("Wait a minute.");
}

void AttemptLimiter::failed(std::string_view address) {
  Lock lock(mutex_);
  const auto now = clock_.monotonic();
  if (entries_.size() >= kMostAddresses) {
    const auto oldest = std::min_element(entries_.begin(), entries_.end(), [](auto& a, auto& b) {
      return a.second.since < b.second.since;
    });
    entries_.erase(oldest);
  }
  auto& entry = entries_[std::string(address)];
  if (entry.failures == 0 || now - entry.since >= window_) entry = {.since = now, .failures = 0};
  ++entry.failures;
}

}  // namespace reeve::server
