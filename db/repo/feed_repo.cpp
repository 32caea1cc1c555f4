#include "db/repo/feed_repo.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "db/repo/list_query.h"

namespace reeve::db {
namespace {

constexpr std::string_view kSelect =
    "SELECT revision, kind, uid, name, state, host_uid, etag, create_time, time, actor, job_uid, "
    "deleted, spec, status FROM object_version ";

Version read_row(const Statement& row) {
  Version out;
  out.revision = row.integer(0);
  // The column only ever holds words of to_text().
  if (auto kind = object_kind_of(row.text(1)); kind.ok()) out.kind = kind.value();
  out.uid = row.text(2);
  out.name = row.text(3);
  out.state = row.text(4);
  out.host_uid = row.text(5);
  out.etag = row.text(6);
  out.create_time = row.time(7);
  out.time = row.time(8);
  out.actor = row.text(9);
  out.job_uid = row.text(10);
  out.deleted = row.boolean(11);
  out.spec = row.blob(12);
  out.status = row.blob(13);
  return out;
}

Result<std::int64_t> meta_number(ReadTransaction& tx, std::string_view key) {
  return TRY(tx.integer("SELECT value FROM meta WHERE key = ?", key)).value_or(0);
}

}  // namespace

AnyOf any_of_kinds(const std::vector<ObjectKind>& kinds) {
  AnyOf any;
  for (const auto kind : kinds)
    any.push_back({.column = Column::Kind, .value = std::string(to_text(kind))});
  return any;
}

Result<std::int64_t> FeedReader::revision() {
  return meta_number(read_, "revision");
}

Result<std::int64_t> FeedReader::floor() {
  return meta_number(read_, "feed_floor");
}

Status FeedReader::check_range(std::int64_t revision) {
  const auto lowest = TRY(floor());
  if (revision < lowest)
    return Error{Code::OutOfRange, "REVISION_COMPACTED",
                 "changes after revision " + std::to_string(revision) +
                     " are no longer complete; the oldest to go on from is " +
                     std::to_string(lowest)}
        .remedy("read the objects again and go on from the revision of that answer")
        .with("floor", std::to_string(lowest));
  const auto highest = TRY(this->revision());
  if (revision > highest)
    return Error{Code::OutOfRange, "REVISION_UNKNOWN",
                 "revision " + std::to_string(revision) + " was never given out; the last is " +
                     std::to_string(highest)}
        .with("revision", std::to_string(highest));
  return {};
}

Result<std::vector<Version>> FeedReader::versions(std::int64_t from_revision,
                                                  const std::vector<ObjectKind>& kinds, int limit) {
  Filter filter;
  if (!kinds.empty()) filter.also(any_of_kinds(kinds));
  return list(from_revision, filter, {.limit = limit});
}

Result<std::vector<Version>> FeedReader::history(std::string_view uid, std::int64_t before_revision,
                                                 int limit) {
  const std::int64_t before = before_revision > 0 ? before_revision : INT64_MAX;
  auto rows = TRY(read_.query(
      std::string(kSelect) + "WHERE uid = ? AND revision < ? ORDER BY revision DESC LIMIT ?", uid,
      before, limit));
  return read_all(rows, read_row);
}

Result<std::vector<Version>> FeedReader::list(std::int64_t from_revision, const Filter& filter,
                                              const Page& page) {
  TRY(check_range(from_revision));
  ListQuery query(kSelect, filter, {"revision", OrderColumn::Type::UniqueNumber});
  query.condition("revision > ?", from_revision);
  auto rows = TRY(query.run(read_, page));
  return read_all(rows, read_row);
}

Result<Version> FeedReader::as_of(std::string_view uid, std::int64_t revision) {
  TRY(check_range(revision));
  auto rows = TRY(read_.query(
      std::string(kSelect) + "WHERE uid = ? AND revision <= ? ORDER BY revision DESC LIMIT 1", uid,
      revision));
  if (TRY(rows.step()) && !rows.boolean(11)) return read_row(rows);
  return Error{Code::NotFound, "NO_VERSION",
               "'" + std::string(uid) + "' did not exist at revision " + std::to_string(revision)};
}

Result<std::vector<Version>> FeedReader::list_as_of(ObjectKind kind, std::int64_t revision,
                                                    std::string_view after_uid, int limit) {
  TRY(check_range(revision));
  // The pluses keep the walk in order of uid, which needs no sorting.
  auto rows = TRY(read_.query(
      std::string(kSelect) +
          "WHERE uid > ? AND +kind = ? AND +revision <= ? AND deleted = 0 AND NOT EXISTS ("
          "SELECT 1 FROM object_version AS newer WHERE newer.uid = object_version.uid AND "
          "newer.revision > object_version.revision AND newer.revision <= ?) "
          "ORDER BY uid, revision LIMIT ?",
      after_uid, to_text(kind), revision, revision, limit));
  return read_all(rows, read_row);
}

Result<std::int64_t> FeedRepo::next_revision() {
  return TRY(revision()) + 1;
}

Result<std::int64_t> FeedRepo::append(const Version& v) {
  const auto revision = TRY(next_revision());
  TRY(tx_.execute("UPDATE meta SET value = ? WHERE key = 'revision'", revision));
  TRY(tx_.execute(
      "INSERT INTO object_version (revision, kind, uid, name, state, host_uid, etag, create_time, "
      "time, actor, job_uid, deleted, spec, status) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      revision, to_text(v.kind), v.uid, v.name, v.state, null_if_empty(v.host_uid), v.etag,
      v.create_time, v.time, v.actor, null_if_empty(v.job_uid), v.deleted, Blob{v.spec},
      Blob{v.status}));
  return revision;
}

Result<std::int64_t> FeedRepo::compact(std::int64_t floor, std::int64_t cursor, int max_rows) {
  const auto target = std::min(std::max(floor, TRY(this->floor())), TRY(revision()));
  TRY(tx_.execute("UPDATE meta SET value = ? WHERE key = 'feed_floor'", target));
  const auto last_looked_at = TRY(tx_.integer(
      "SELECT revision FROM object_version WHERE revision > ? AND revision <= ? ORDER BY revision "
      "LIMIT 1 OFFSET ?",
      cursor, target, max_rows - 1));
  // A version is needed at the floor when it is its object's newest up to there, and not a
  // tombstone.
  TRY(tx_.execute(
      "DELETE FROM object_version WHERE revision > ? AND revision <= ? AND (deleted = 1 OR EXISTS ("
      "SELECT 1 FROM object_version AS newer WHERE newer.uid = object_version.uid AND "
      "newer.revision > object_version.revision AND newer.revision <= ?))",
      cursor, last_looked_at.value_or(target), target));
  return last_looked_at.value_or(0);
}

Result<std::int64_t> FeedRepo::revision_before(WallTime time) {
  // Times grow with revisions (a clock set back makes this an estimate, which is enough), so halve.
  std::int64_t low = TRY(floor());  // everything up to here is older
  std::int64_t high = TRY(revision());
  while (low < high) {
    const auto middle = low + (high - low) / 2 + 1;
    auto row = TRY(tx_.query(
        "SELECT revision, time FROM object_version WHERE revision >= ? AND revision <= ? ORDER BY "
        "revision LIMIT 1",
        middle, high));
    if (TRY(row.step()) && row.time(1) < time) {
      low = row.integer(0);
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace reeve::db
