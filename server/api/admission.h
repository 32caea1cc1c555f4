// server/api/admission.h - one call that the front door has let in (or turned away): who, what,
// since when.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <google/protobuf/message.h>

#include "base/clock.h"
#include "base/loop.h"
#include "server/api/call_limiter.h"
#include "server/api/method_policy.h"
#include "server/app/caller.h"
#include "server/auth/audit_log.h"

namespace reeve::server {

/// Of a message that a client sends; the CLI refuses more before it sends it (cli/client.h).
inline constexpr std::size_t kMaxMessageBytes = 4u << 20;
/// ResourceExhausted/MESSAGE_TOO_LARGE.
Status check_size(const google::protobuf::Message& message);

/// What a call leaves behind at its end.
struct Outcome {
  Status status{};
  std::string resource{};
  std::string job_uid{};
};

/// A call that the server can end by itself: when it stops.
class OpenCall {
 public:
  virtual ~OpenCall() = default;
  /// Ends the call with this error. Any thread; a no-op when it has ended.
  virtual void stop(const Error& error) = 0;
};

/// Lives as long as the call. Any thread.
class Admission {
 public:
  struct Parts {
    const MethodPolicy* policy = nullptr;
    CallLimiter* limiter = nullptr;
    AuditLog* audit = nullptr;
    const Clock* clock = nullptr;
  };
  Admission(const Parts& parts, Caller caller, std::string call_id);
  ~Admission();  ///< leaves the limiter
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  const Caller& caller() const { return caller_; }
  const MethodPolicy& policy() const { return *parts_.policy; }
  const std::string& call_id() const { return call_id_; }

  /// Counts the call in. ResourceExhausted/TOO_MANY_CALLS.
  Status count_in();
  /// Writes the log line and, when the method mutates, the audit row - unless the service wrote it,
  /// in the transaction that made the change (Caller::audited_by_front_door). `done` comes when
  /// that is durable, on any thread, possibly before record() returns. Once per call.
  void record(const Outcome& outcome, std::string summary, std::function<void()> done);

 private:
  void log_line(const Outcome& outcome) const;

  const Parts parts_;
  const Caller caller_;
  const std::string call_id_;
  const Monotonic begin_;
  bool counted_ = false;
};

}  // namespace reeve::server
