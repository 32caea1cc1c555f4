// server/core/housekeeping.h - forgets what is old: expired request ids, finished jobs, history.
#pragma once

#include <memory>

#include "server/core/server_core.h"

namespace reeve::server {

/// A little every few minutes, each piece a short transaction. Core loop.
class Housekeeping {
 public:
  explicit Housekeeping(const CoreParts& parts) : parts_(parts) {}
  ~Housekeeping();
  void start();

 private:
  void round();
  void compact(std::int64_t floor, std::int64_t cursor);

  const CoreParts parts_;
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace reeve::server
