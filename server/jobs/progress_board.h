// server/jobs/progress_board.h - live progress of running jobs: in memory only, readable from any
// thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "reeve/v1/job.pb.h"

namespace reeve::server {

class ProgressBoard {
 public:
  void set(const std::string& job_uid, v1::Progress progress) {
    Lock lock(mutex_);
    progress_[job_uid] = std::move(progress);
  }
  void forget(const std::string& job_uid) {
    Lock lock(mutex_);
    progress_.erase(job_uid);
  }
  std::optional<v1::Progress> get(const std::string& job_uid) const {
    Lock lock(mutex_);
    const auto it = progress_.find(job_uid);
    return it == progress_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, v1::Progress> progress_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
