// db/model/job.h - a job, the rows of its journal, its locks, and the idempotency record of a
// request.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "db/model/object.h"

namespace reeve::db {

/// An Error in columns. No code means no error.
struct StoredError {
  int code = 0;  ///< Code's number
  std::string reason{};
  std::string message{};
  std::string remedy{};

  bool is_set() const { return code != 0; }
  static StoredError of(const Error& error);
  /// The Error again; only when is_set().
  Error to_error() const;
};

/// A job is active until finish_time is set; a finished one never changes again. Its name is empty.
struct Job : ObjectHead {
  std::string kind{};   ///< "create_vm", ...
  std::string state{};  ///< vocabulary of server/jobs
  std::string target_kind{};
  std::string target_uid{};
  std::string target_name{};  ///< as it was called then
  std::string host_uid{};     ///< where it mainly works; may be empty
  std::string request_id{};
  std::string actor{};
  std::string parent_uid{};
  bool cancel_requested = false;
  std::optional<WallTime> start_time{};
  std::optional<WallTime> finish_time{};
  StoredError error{};
  std::string plan{};  ///< written once
  std::string doc{};   ///< progress and whatever else the runner keeps
};

/// Whether a change of a job makes a version: its states do, its percentages do not.
enum class Announce { Yes, No };

/// One row of the journal: step `ordinal` of a job, as last written.
struct JobStep {
  std::string job_uid{};
  int ordinal = 0;
  std::string name{};
  std::string host_uid{};  ///< of the agent that executes it; empty for the server itself
  std::string state{};     ///< vocabulary of server/jobs
  int attempt = 0;
  std::string facts{};  ///< opaque
  StoredError error{};
  std::optional<WallTime> start_time{};
  std::optional<WallTime> finish_time{};
};

struct JobLock {
  std::string resource{};  ///< "vms/<uid>", "hosts/<uid>/slot", ...
  std::string job_uid{};
  WallTime acquire_time{};
};

/// What a request_id was answered with, so that a repeat gets the same.
struct StoredRequest {
  std::string caller{};
  std::string request_id{};
  std::string method{};
  std::string body_sha256{};  ///< hex; the same id with another body is the caller's mistake
  std::string job_uid{};      ///< the job that was made, or
  std::string response{};     ///< the answer itself
  WallTime create_time{};
  WallTime expire_time{};
};

}  // namespace reeve::db
