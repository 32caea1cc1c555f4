#include "db/commit_group.h"

#include <string>

#include "db/sqlite/error.h"

namespace reeve::db {
namespace {

struct Outcome {
  Status status{};
  std::int64_t revision = 0;
};

Result<std::int64_t> revision_of(ReadTransaction& tx) {
  return TRY(tx.integer("SELECT value FROM meta WHERE key = 'revision'")).value_or(0);
}

struct Revisions {
  std::int64_t before = 0, after = 0;
};

/// Fails when the transaction as a whole did; then nothing of it is visible.
Result<Revisions> run_all(Database& database, const std::vector<CommitGroup::Entry>& entries,
                          std::vector<Outcome>& outcomes) {
  auto tx = TRY(database.begin());
  Revisions revisions;
  revisions.before = revisions.after = TRY(revision_of(tx));
  for (const auto& entry : entries) {
    Outcome& outcome = outcomes.emplace_back();
    outcome.status = tx.nested(entry.work);
    if (tx.is_lost()) return outcome.status.error();
    outcome.revision = revisions.after = TRY(revision_of(tx));
  }
  TRY(tx.commit());
  return revisions;
}

}  // namespace

Status CommitGroup::run(Database& database, std::vector<Entry>& entries,
                        const Writer::OnCommit& on_commit) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(entries.size());
  const auto revisions = run_all(database, entries, outcomes);
  if (!revisions.ok()) {
    refuse(entries, revisions.error());
    return revisions.error();
  }
  const auto [before, after] = revisions.value();
  if (after > before && on_commit) on_commit(before + 1, after);
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (entries[i].done) entries[i].done(std::move(outcomes[i].status), outcomes[i].revision);
  return {};
}

void CommitGroup::refuse(std::vector<Entry>& entries, const Error& error) {
  for (auto& entry : entries)
    if (entry.done) entry.done(error, 0);
}

bool CommitGroup::must_stop_writing(const Status& outcome) {
  return !outcome.ok() && (is_damage(outcome.error()) || outcome.error().reason() == "DB_IO");
}

Error CommitGroup::read_only_error(std::string_view why) {
  return Error{Code::FailedPrecondition, "DB_READ_ONLY",
               "the database takes no changes: " + std::string(why)}
      .remedy("check the disk; then restart the server, or stop it and restore the newest backup");
}

}  // namespace reeve::db
