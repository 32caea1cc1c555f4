#include "db/repo/audit_repo.h"

#include <cstdint>

#include "db/repo/list_query.h"

namespace reeve::db {
namespace {

constexpr std::string_view kSelect =
    "SELECT seq, time, actor, peer, method, resource, request_id, job_uid, summary, code, reason, "
    "prev_hash, hash FROM audit ";

AuditEntry read_row(const Statement& row) {
  AuditEntry out;
  out.seq = row.integer(0);
  out.time = row.time(1);
  out.actor = row.text(2);
  out.peer = row.text(3);
  out.method = row.text(4);
  out.resource = row.text(5);
  out.request_id = row.text(6);
  out.job_uid = row.text(7);
  out.summary = row.text(8);
  out.code = row.small(9);
  out.reason = row.text(10);
  out.prev_hash = row.text(11);
  out.hash = row.text(12);
  return out;
}

Error broken(std::int64_t seq, std::string_view why) {
  return Error{Code::DataLoss, "AUDIT_BROKEN",
               "audit entry " + std::to_string(seq) + ": " + std::string(why)}
      .with("seq", std::to_string(seq));
}

}  // namespace

std::string canonical_bytes(const AuditEntry& entry) {
  std::string out;
  const auto add = [&out](std::string_view field) {
    out.append(std::to_string(field.size())).append(":").append(field);
  };
  add(std::to_string(entry.seq));
  add(std::to_string(to_micros(entry.time)));
  for (const auto* field : {&entry.actor, &entry.peer, &entry.method, &entry.resource,
                            &entry.request_id, &entry.job_uid, &entry.summary})
    add(*field);
  add(std::to_string(entry.code));
  add(entry.reason);
  add(entry.prev_hash);
  return out;
}

Result<std::vector<AuditEntry>> AuditReader::list(const Filter& filter, const Page& page) {
  ListQuery query(kSelect, filter, {"seq", OrderColumn::Type::UniqueNumber});
  auto rows = TRY(query.run(read_, page));
  return read_all(rows, read_row);
}

Result<std::int64_t> AuditReader::last_seq() {
  return TRY(read_.integer("SELECT seq FROM audit ORDER BY seq DESC LIMIT 1")).value_or(0);
}

Result<std::int64_t> AuditReader::verify_chain(const HashFunction& hash, std::int64_t from_seq) {
  std::string prev_hash;
  if (from_seq > 1) {
    const auto before = TRY(read_.text("SELECT hash FROM audit WHERE seq = ?", from_seq - 1));
    if (!before) return broken(from_seq - 1, "it is missing");
    prev_hash = *before;
  }
  std::int64_t expected = from_seq;
  auto rows = TRY(read_.query(std::string(kSelect) + "WHERE seq >= ? ORDER BY seq", from_seq));
  while (TRY(rows.step())) {
    const auto entry = read_row(rows);
    if (entry.seq != expected) return broken(expected, "it is missing");
    if (entry.prev_hash != prev_hash)
      return broken(entry.seq, "the entry before is not the one it was");
    if (entry.hash != hash(canonical_bytes(entry))) return broken(entry.seq, "it was changed");
    prev_hash = entry.hash;
    ++expected;
  }
  return expected - from_seq;
}

Result<AuditEntry> AuditRepo::append(AuditEntry entry, const HashFunction& hash) {
  {
    auto last = TRY(tx_.query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"));
    const bool has_last = TRY(last.step());
    entry.seq = has_last ? last.integer(0) + 1 : 1;
    entry.prev_hash = has_last ? last.text(1) : std::string();
  }
  entry.hash = hash(canonical_bytes(entry));
  TRY(tx_.execute(
      "INSERT INTO audit (seq, time, actor, peer, method, resource, request_id, job_uid, summary, "
      "code, reason, prev_hash, hash) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
      entry.seq, entry.time, entry.actor, entry.peer, entry.method, entry.resource,
      entry.request_id, entry.job_uid, entry.summary, entry.code, entry.reason, entry.prev_hash,
      entry.hash));
  return entry;
}

}  // namespace reeve::db
