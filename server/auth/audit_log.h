// server/auth/audit_log.h - writes the audit log and shows it. Every row carries the hash of the
// one before.
//
// Any thread. Without credentials nobody can fill the disk: rows of anonymous callers are at most
// 10 a second, the next says how many were left out.
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "db/model/audit.h"
#include "db/readers.h"
#include "db/writer.h"
#include "reeve/v1/event_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

inline constexpr const char* kAnonymous = "anonymous";

/// Writes the row of a change that succeeds, in the transaction that makes it: there is no change
/// without its row. `entry` says time, method, resource and summary. Nothing when the front door
/// writes it.
Status audit_change(db::Transaction& tx, const Caller& caller, db::AuditEntry entry);

class AuditLog {
 public:
  /// All outlive the log.
  AuditLog(db::Writer& writer, db::Readers& readers, const Clock& clock)
      : writer_(writer), readers_(readers), clock_(clock) {}

  /// `done` comes when the row is durable or could not be written (which is logged here): on the
  /// writer's thread, or before append() returns.
  void append(db::AuditEntry entry, std::function<void()> done);

  /// InvalidArgument/ BAD_FILTER, BAD_FIELD, BAD_PAGE_TOKEN.
  Result<v1::ListAuditEntriesResponse> list(const v1::ListAuditEntriesRequest& request) const;

 private:
  /// Whether another anonymous row may be written now; adds what was left out to `summary`.
  bool admit_anonymous(std::string& summary);

  db::Writer& writer_;
  db::Readers& readers_;
  const Clock& clock_;
  Mutex mutex_;
  Monotonic second_ REEVE_GUARDED_BY(mutex_){};
  int in_second_ REEVE_GUARDED_BY(mutex_) = 0;
  std::int64_t left_out_ REEVE_GUARDED_BY(mutex_) = 0;
};

}  // namespace reeve::server
