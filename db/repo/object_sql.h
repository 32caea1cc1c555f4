// db/repo/object_sql.h - what the repositories of versioned nouns share.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "db/model/version.h"
#include "db/repo/feed_repo.h"

namespace reeve::db {

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

/// Appends the version of a removed row.
inline Status append_removal(FeedRepo& feed, Version version) {
  version.deleted = true;
  TRY(feed.append(version));
  return {};
}

/// Etags and revisions are decimal; keys of pages too.
inline std::string time_key(WallTime time) {
  return std::to_string(to_micros(time));
}

}  // namespace reeve::db
