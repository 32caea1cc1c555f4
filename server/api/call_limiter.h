// server/api/call_limiter.h - how many calls may be open at the same time: in all, per caller, per
// address.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "base/status.h"

namespace reeve::server {

struct CallLimits {
  int in_all = 8192;
  int per_actor = 1024;
  int anonymous = 256;  ///< all callers without credentials together
  int per_address = 2048;
};

/// Any thread.
class CallLimiter {
 public:
  explicit CallLimiter(CallLimits limits) : limits_(limits) {}

  /// ResourceExhausted/TOO_MANY_CALLS. After success, leave() with the same arguments.
  Status enter(const std::string& actor, const std::string& address);
  void leave(const std::string& actor, const std::string& address);
  int open() const;

 private:
  using Counts = std::map<std::string, int, std::less<>>;
  static void decrease(Counts& counts, const std::string& key);

  const CallLimits limits_;
  mutable Mutex mutex_;
  int open_ REEVE_GUARDED_BY(mutex_) = 0;
  Counts by_actor_ REEVE_GUARDED_BY(mutex_);
  Counts by_address_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
