#include "db/sqlite/backup.h"

#include <algorithm>
#include <string>
#include <system_error>

#include <sqlite3.h>
#include <unistd.h>

#include "base/file.h"
#include "base/undo.h"
#include "db/sqlite/error.h"
#include "db/sqlite/lock.h"
#include "db/sqlite/migrate.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {
namespace {

namespace fs = std::filesystem;

/// Added to revision and epoch when the replaced database cannot be read: more than one
/// installation gives out between two backups.
constexpr std::int64_t kUnknownGap = 1'000'000'000;

int newest_schema() {
  const auto all = embedded_migrations();
  return all.empty() ? 0 : all.back().number;
}

fs::path beside(const fs::path& path, std::string_view suffix) {
  return path.string() + std::string(suffix);
}

Status remove_database_files(const fs::path& path) {
  for (const auto* suffix : {"", "-journal", "-wal", "-shm"})
    TRY(remove_file(beside(path, suffix)));
  return {};
}

Status copy_pages(Database& source, Database& target) {
  sqlite3_backup* copy = sqlite3_backup_init(target.handle(), "main", source.handle(), "main");
  if (copy == nullptr)
    return sqlite_error(target.handle(), sqlite3_extended_errcode(target.handle()), "copying");
  const int step = sqlite3_backup_step(copy, -1);
  const int finish = sqlite3_backup_finish(copy);
  if (step != SQLITE_DONE || finish != SQLITE_OK)
    return sqlite_error(target.handle(), finish != SQLITE_OK ? finish : step, "copying");
  return {};
}

Status check_content(Database& database) {
  TRY(database.quick_check());
  auto tx = TRY(database.begin_read());
  auto broken = TRY(tx.query("PRAGMA foreign_key_check"));
  if (TRY(broken.step()))
    return Error{Code::DataLoss, "DB_CORRUPT",
                 "table '" + broken.text(0) + "' refers to rows that do not exist"};
  return {};
}

struct Counters {
  std::int64_t revision = 0, epoch = 0;
};

Result<Counters> read_counters(Database& database) {
  auto tx = TRY(database.begin_read());
  Counters out;
  out.revision = TRY(tx.integer("SELECT value FROM meta WHERE key = 'revision'")).value_or(0);
  out.epoch = TRY(tx.integer("SELECT value FROM meta WHERE key = 'epoch'")).value_or(0);
  return out;
}

Result<Counters> counters_of_file(const fs::path& path) {
  auto database = TRY(Database::open(path, {.access = Access::Write}));
  auto counters = TRY(read_counters(*database));
  TRY(database->checkpoint());
  return counters;
}

/// Makes the copy continue after everything that the replaced database may have given out.
Status continue_after(const fs::path& copy, Counters given_out) {
  auto database = TRY(Database::open(copy, {.access = Access::Write}));
  {
    auto tx = TRY(database->begin());
    TRY(tx.execute("UPDATE meta SET value = ? WHERE key IN ('revision', 'feed_floor')",
                   given_out.revision + 1));
    TRY(tx.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", given_out.epoch));
    TRY(tx.commit());
  }
  return database->checkpoint();
}

Status rename_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return errno_error("renaming '" + from.string() + "' to '" + to.string() + "'");
  return {};
}

/// A name under which nothing is yet.
fs::path free_name(const fs::path& database) {
  for (int n = 1;; ++n) {
    auto name = beside(database, ".replaced-" + std::to_string(n));
    std::error_code ignored;
    if (!fs::exists(name, ignored)) return name;
  }
}

/// A second name for the old file, and its WAL out of the way: SQLite would read an old WAL into a
/// new file of that name.
Result<fs::path> keep_old(const fs::path& database) {
  const auto kept = free_name(database);
  if (::link(database.c_str(), kept.c_str()) != 0)
    return errno_error("keeping '" + database.string() + "'");
  std::error_code ignored;
  if (fs::exists(beside(database, "-wal"), ignored))
    TRY(rename_file(beside(database, "-wal"), beside(kept, "-wal")));
  TRY(remove_file(beside(database, "-shm")));
  return kept;
}

}  // namespace

Status copy_database(Database& source, const fs::path& target) {
  const bool is_real = source.vfs().empty();
  if (is_real) TRY(remove_database_files(target));
  {
    auto copy = TRY(Database::open(target, {.access = Access::CreateFile, .vfs = source.vfs()}));
    TRY(copy_pages(source, *copy));
  }
  // The copied header says WAL; without it the backup is a single file.
  auto copy = TRY(Database::open(target, {.access = Access::CreateFile, .vfs = source.vfs()}));
  TRY(copy->run_script("PRAGMA journal_mode = DELETE"));
  TRY(check_content(*copy));
  if (is_real) TRY(sync_dir(fs::absolute(target).parent_path()));
  return {};
}

Result<BackupFacts> verify_backup(const fs::path& file) {
  auto database = TRY(Database::open(file, {.access = Access::ReadFile}));
  BackupFacts facts;
  facts.schema = TRY(check_schema(*database, newest_schema()));
  if (facts.schema == 0)
    return Error{Code::FailedPrecondition, "DB_FOREIGN",
                 "'" + file.string() + "' is not a database of Reeve"};
  TRY(check_content(*database));
  facts.revision = TRY(read_counters(*database)).revision;
  facts.bytes = static_cast<std::int64_t>(TRY(reeve::file_size(file)));
  return facts;
}

Result<BackupFacts> backup_to_file(const fs::path& source, const fs::path& target) {
  std::error_code ignored;
  if (fs::exists(target, ignored))
    return Error{Code::AlreadyExists, "FILE_EXISTS", "'" + target.string() + "' exists"};
  const auto partial = beside(target, ".partial");
  Undo undo;
  undo.push([&] { (void)remove_database_files(partial); });
  {
    auto database = TRY(Database::open(source, {.access = Access::Read}));
    TRY(copy_database(*database, partial));
  }
  const auto facts = TRY(verify_backup(partial));
  TRY(rename_file(partial, target));
  undo.release();
  TRY(sync_dir(fs::absolute(target).parent_path()));
  return facts;
}

Result<Restored> restore_from_file(const fs::path& file, const fs::path& database) {
  Restored restored;
  const auto lock = TRY(lock_database(database));
  restored.facts = TRY(verify_backup(file));
  std::error_code ignored;
  const bool replaces = fs::exists(database, ignored);

  const auto partial = beside(database, ".restoring");
  Undo undo;
  undo.push([&] { (void)remove_database_files(partial); });
  Counters given_out;
  {
    auto source = TRY(Database::open(file, {.access = Access::ReadFile}));
    given_out = TRY(read_counters(*source));
    TRY(copy_database(*source, partial));
  }
  if (replaces) {
    const auto old = counters_of_file(database);
    given_out.revision = old.ok() ? std::max(given_out.revision, old.value().revision)
                                  : given_out.revision + kUnknownGap;
    given_out.epoch =
        old.ok() ? std::max(given_out.epoch, old.value().epoch) : given_out.epoch + kUnknownGap;
  }
  TRY(continue_after(partial, given_out));
  if (replaces) restored.kept = TRY(keep_old(database));
  TRY(rename_file(partial, database));
  undo.release();
  TRY(remove_database_files(partial));
  TRY(sync_dir(fs::absolute(database).parent_path()));
  return restored;
}

Result<std::int64_t> advance_past_lost(const fs::path& database) {
  TRY(reeve::file_size(database));
  const auto lock = TRY(lock_database(database));
  TRY(verify_backup(database));
  auto given_out = TRY(counters_of_file(database));
  given_out.revision += kUnknownGap;
  given_out.epoch += kUnknownGap;
  TRY(continue_after(database, given_out));
  return given_out.epoch;
}

}  // namespace reeve::db
