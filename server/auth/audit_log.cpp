#include "server/auth/audit_log.h"

#include <charconv>

#include "base/crypto/sha256.h"
#include "base/log.h"
#include "db/repo/audit_repo.h"
#include "server/auth/paging.h"

namespace reeve::server {
namespace {

v1::AuditEntry to_proto(const db::AuditEntry& row) {
  v1::AuditEntry out;
  out.set_sequence(row.seq);
  const auto micros = to_micros(row.time);
  out.mutable_time()->set_seconds(micros / 1'000'000);
  out.mutable_time()->set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1000));
  out.set_actor(row.actor);
  out.set_peer(row.peer);
  out.set_method(row.method);
  out.set_resource(row.resource);
  out.set_summary(row.summary);
  out.set_code(row.code);
  out.set_reason(row.reason);
  if (!row.job_uid.empty()) out.set_job("jobs/" + row.job_uid);
  out.set_hash(row.hash);
  out.set_previous_hash(row.prev_hash);
  return out;
}

}  // namespace

Status audit_change(db::Transaction& tx, const Caller& caller, db::AuditEntry entry) {
  if (caller.audited_by_front_door) return {};
  entry.actor = caller.actor;
  entry.peer = caller.peer;
  TRY(db::AuditRepo(tx).append(std::move(entry), crypto::sha256_hex));
  return {};
}

bool AuditLog::admit_anonymous(std::string& summary) {
  constexpr int kPerSecond = 10;
  Lock lock(mutex_);
  const auto now = clock_.monotonic();
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    in_second_ = 0;
  }
  if (++in_second_ > kPerSecond) {
    ++left_out_;
    return false;
  }
  if (left_out_ > 0) summary += " (and " + std::to_string(left_out_) + " more left out before)";
  left_out_ = 0;
  return true;
}

void AuditLog::append(db::AuditEntry entry, std::function<void()> done) {
  if (entry.actor == kAnonymous && entry.code != 0 && !admit_anonymous(entry.summary))
    return done();
  entry.time = clock_.wall();
  writer_.submit(
      [entry = std::move(entry)](db::Transaction& tx) -> Status {
        TRY(db::AuditRepo(tx).append(entry, crypto::sha256_hex));
        return {};
      },
      [done = std::move(done)](Status status, std::int64_t) {
        if (!status.ok()) log::error("audit row not written", status.error());
        done();
      });
}

Result<v1::ListAuditEntriesResponse> AuditLog::list(
    const v1::ListAuditEntriesRequest& request) const {
  const int limit = TRY(page_limit(request.page_size()));
  const auto position = TRY(read_page_token("audit", request.page_token()));
  std::int64_t before = 0;
  const auto* end = position.data() + position.size();
  if (!position.empty() &&
      (std::from_chars(position.data(), end, before).ptr != end || before <= 0)) {
    return Error{Code::InvalidArgument, "BAD_PAGE_TOKEN", "page_token is not one of this list"};
  }
  const auto rows = TRY(readers_.read(
      [&](db::ReadTransaction& tx) { return db::AuditReader(tx).list({}, before, limit); }));
  v1::ListAuditEntriesResponse out;
  for (const auto& row : rows) *out.add_entries() = to_proto(row);
  if (static_cast<int>(rows.size()) == limit && rows.back().seq > 1)
    out.set_next_page_token(make_page_token("audit", std::to_string(rows.back().seq)));
  return out;
}

}  // namespace reeve::server
