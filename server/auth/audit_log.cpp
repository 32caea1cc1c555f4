#include "server/auth/audit_log.h"

#include <algorithm>
#include <array>

#include "base/crypto/sha256.h"
#include "base/log.h"
#include "base/text.h"
#include "db/repo/audit_repo.h"
#include "server/app/list_filter.h"
#include "server/app/log_page.h"
#include "server/app/words.h"

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

/// In the order of their numbers, which begins with success.
constexpr std::string_view kCodes =
    "ok cancelled unknown invalid_argument deadline_exceeded not_found already_exists "
    "permission_denied resource_exhausted failed_precondition aborted out_of_range unimplemented "
    "internal unavailable data_loss unauthenticated";

Result<db::Restriction> of_code(const std::string& value, db::ReadTransaction&) {
  const auto words = split(kCodes, ' ');
  const auto number = std::ranges::find(words, TRY(filter_word(value, kCodes))) - words.begin();
  return db::Restriction{.column = db::Column::Code, .value = std::int64_t{number}};
}

Result<db::Restriction> of_job(const std::string& value, db::ReadTransaction&) {
  return db::Restriction{.column = db::Column::JobUid,
                         .value = TRY(uid_of(value, "jobs", "filter"))};
}

constexpr LogPage::Log kLog{.number = db::Column::Sequence,
                            .order_key = "sequence",
                            .usual_order = "sequence desc",
                            .indexed = {db::Column::Actor, db::Column::Resource}};

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    {"actor", db::Column::Actor},
    {"peer", db::Column::Peer},
    {"method", db::Column::Method},
    {"resource", db::Column::Resource},
    {"reason", db::Column::Reason},
    {.name = "code", .type = FilterKey::Type::Other, .read = of_code},
    {.name = "job", .type = FilterKey::Type::Other, .read = of_job},
    {"sequence", db::Column::Sequence, FilterKey::Type::Number},
    {"time", db::Column::Time, FilterKey::Type::Time},
});

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
  const auto filter = TRY(ListFilter::read(request.filter(), kFilterKeys, Labels::No, readers_));
  const auto page = TRY(LogPage::of(request, kLog, "audit"));
  return readers_.read([&](db::ReadTransaction& tx) -> Result<v1::ListAuditEntriesResponse> {
    db::AuditReader reader(tx);
    const auto piece = page.piece(filter.rows, 0, TRY(reader.last_seq()));
    auto rows = TRY(reader.list(piece.filter, piece.page));
    v1::ListAuditEntriesResponse response;
    response.set_next_page_token(page.next_token(piece, rows, &db::AuditEntry::seq));
    for (const auto& row : rows) *response.add_entries() = to_proto(row);
    return response;
  });
}

}  // namespace reeve::server
