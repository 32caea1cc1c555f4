// db/repo/object_sql.h - what the repositories of versioned nouns share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/version.h"
#include "db/repo/feed_repo.h"
#include "db/repo/list_query.h"

namespace reeve::db {

/// A table of versioned nouns, which is called as its kind: how its rows are selected and read.
template <class Row>
struct Noun {
  ObjectKind kind{};
  std::string_view select{};  ///< "SELECT uid, name, etag, revision, create_time, update_time, ...
                              ///< FROM table "
  Row (*read)(const Statement&) = nullptr;
};

/// The first six columns, which are the same for every noun.
inline void read_head(const Statement& row, ObjectHead& out) {
  out.uid = row.text(0);
  out.name = row.text(1);
  out.etag = row.text(2);
  out.revision = row.integer(3);
  out.create_time = row.time(4);
  out.update_time = row.time(5);
}

inline Error not_found(ObjectKind kind, std::string_view which) {
  auto message = "no " + std::string(to_text(kind)) + " '" + std::string(which) + "'";
  switch (kind) {
    case ObjectKind::Host: return {Code::NotFound, "HOST_NOT_FOUND", std::move(message)};
    case ObjectKind::Hypervisor:
      return {Code::NotFound, "HYPERVISOR_NOT_FOUND", std::move(message)};
    case ObjectKind::Vm: return {Code::NotFound, "VM_NOT_FOUND", std::move(message)};
    case ObjectKind::Image: return {Code::NotFound, "IMAGE_NOT_FOUND", std::move(message)};
    case ObjectKind::Job: break;
  }
  return {Code::NotFound, "JOB_NOT_FOUND", std::move(message)};
}

/// The row for which `condition` holds. NotFound, naming the last of `values`.
template <class Row, class... Values>
Result<Row> find_row(ReadTransaction& tx, const Noun<Row>& noun, std::string_view condition,
                     const Values&... values) {
  auto rows = TRY(tx.query(std::string(noun.select).append("WHERE ").append(condition), values...));
  if (TRY(rows.step())) return noun.read(rows);
  std::string_view which;
  ((which = values), ...);
  return not_found(noun.kind, which);
}

inline OrderColumn column_of(ObjectOrder order) {
  switch (order) {
    case ObjectOrder::Name: break;
    case ObjectOrder::CreateTime: return {"create_time", OrderColumn::Type::Number};
    case ObjectOrder::UpdateTime: return {"update_time", OrderColumn::Type::Number};
  }
  return {"name", OrderColumn::Type::UniqueText};
}

template <class Row>
Result<std::vector<Row>> list_rows(ReadTransaction& tx, const Noun<Row>& noun, const Filter& filter,
                                   const OrderColumn& order, const Page& page) {
  auto rows = TRY(ListQuery(noun.select, filter, order).run(tx, page));
  return read_all(rows, noun.read);
}

/// Aborted/STALE_ETAG unless `given` is empty or the stored one.
inline Status check_etag(std::string_view given, const ObjectHead& stored, ObjectKind kind) {
  if (given.empty() || given == stored.etag) return {};
  return Error{Code::Aborted, "STALE_ETAG",
               std::string(to_text(kind)) + " '" + stored.name + "' changed; read it again"}
      .resource(std::string(to_text(kind)) + "s/" + stored.uid)
      .with("etag", stored.etag);
}

/// The outcome of a write; DB_UNIQUE on the name says so in words.
inline Status named(Result<int> written, ObjectKind kind, const ObjectHead& row) {
  if (written.ok()) return {};
  auto error = std::move(written).error();
  const auto columns = error.metadata().find("columns");
  if (columns == error.metadata().end() || columns->second.find(".name") == std::string::npos)
    return error;
  return Error{Code::AlreadyExists, "DB_UNIQUE",
               "there is another " + std::string(to_text(kind)) + " named '" + row.name + "'"}
      .with("columns", columns->second);
}

/// The members of a version that every noun fills the same way.
inline Version version_head(ObjectKind kind, const ObjectHead& row, const Change& change) {
  Version version;
  version.kind = kind;
  version.uid = row.uid;
  version.name = row.name;
  version.etag = row.etag;
  version.create_time = row.create_time;
  version.time = change.time;
  version.actor = change.actor;
  version.job_uid = change.job_uid;
  return version;
}

/// Version of a noun that has state, host_uid, spec and status.
template <class Row>
Version version_of(ObjectKind kind, const Row& row, const Change& change) {
  Version version = version_head(kind, row, change);
  version.state = row.state;
  if constexpr (requires { row.host_uid; }) version.host_uid = row.host_uid;
  version.spec = row.spec;
  version.status = row.status;
  return version;
}

enum class Touch { Intent, Status };

/// Gives `row` the next revision and the time of the change; a new etag when intent changes.
inline Status stamp(FeedRepo& feed, ObjectHead& row, const Change& change, Touch touch) {
  row.revision = TRY(feed.next_revision());
  row.update_time = change.time;
  if (touch == Touch::Intent) row.etag = std::to_string(row.revision);
  return {};
}

/// The end of a write whose statement gave `written`: announces the row, and returns it.
template <class Row>
Result<Row> announced(FeedRepo& feed, ObjectKind kind, Row row, const Change& change,
                      Result<int> written) {
  TRY(named(std::move(written), kind, row));
  TRY(feed.append(version_of(kind, row, change)));
  return row;
}

/// Only the time of the last look differs: stored without a version.
template <class Row>
Result<Row> seen_again(Transaction& tx, ObjectKind kind, Row row) {
  TRY(tx.execute(
      "UPDATE " + std::string(to_text(kind)) + " SET status_observed_at = ? WHERE uid = ?",
      row.status_observed_at, row.uid));
  return row;
}

/// Appends the version of a removed row.
inline Status append_removal(FeedRepo& feed, Version version) {
  version.deleted = true;
  TRY(feed.append(version));
  return {};
}

template <class Row>
Status remove_row(Transaction& tx, const Noun<Row>& noun, std::string_view uid,
                  std::string_view etag, const Change& change) {
  const Row stored = TRY(find_row(tx, noun, "uid = ?", uid));
  TRY(check_etag(etag, stored, noun.kind));
  FeedRepo feed(tx);
  TRY(tx.execute("DELETE FROM " + std::string(to_text(noun.kind)) + " WHERE uid = ?", uid));
  return append_removal(feed, version_of(noun.kind, stored, change));
}

}  // namespace reeve::db
