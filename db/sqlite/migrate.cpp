#include "db/sqlite/migrate.h"

#include <cstdio>
#include <string>

#include "base/log.h"
#include "db/sqlite/backup.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {
namespace {

std::filesystem::path backup_path(const Database& database, int number) {
  char suffix[24];
  std::snprintf(suffix, sizeof suffix, ".before-%04d", number);
  return database.path().string() + suffix;
}

Status apply(Database& database, const Migration& migration) {
  auto tx = TRY(database.begin());
  TRY(tx.run_script(migration.sql));
  {
    auto broken = TRY(tx.query("PRAGMA foreign_key_check"));
    if (TRY(broken.step()))
      return Error{Code::Internal, "DB_CONSTRAINT",
                   "table '" + broken.text(0) + "' refers to rows of '" + broken.text(2) +
                       "' that do not exist"};
  }
  TRY(tx.run_script("PRAGMA application_id = " + std::to_string(kApplicationId) +
                    "; PRAGMA user_version = " + std::to_string(migration.number)));
  return tx.commit();
}

Status apply_all(Database& database, std::span<const Migration> migrations, int schema) {
  const bool is_new = schema == 0;  // nothing in it that a copy could keep
  for (const auto& migration : migrations) {
    if (migration.number <= schema) continue;
    const auto what = "migrating to schema " + std::to_string(migration.number) + " (" +
                      std::string(migration.name) + ")";
    if (!is_new) {
      const auto target = backup_path(database, migration.number);
      auto copied = copy_database(database, target);
      if (!copied.ok())
        return std::move(copied).error().during(what + ": backup to '" + target.string() + "'");
    }
    auto applied = apply(database, migration);
    if (!applied.ok()) return std::move(applied).error().during(what);
    log::info("database migrated",
              {{"path", database.path().string()}, {"schema", migration.number}});
    schema = migration.number;
  }
  return {};
}

}  // namespace

Result<int> check_schema(Database& database, int newest) {
  const auto application = TRY(database.pragma("application_id"));
  const auto schema = static_cast<int>(TRY(database.pragma("user_version")));
  auto tx = TRY(database.begin_read());
  const bool is_empty = TRY(tx.integer("SELECT count(*) FROM sqlite_schema")) == 0;
  if (application != kApplicationId && !(is_empty && application == 0 && schema == 0))
    return Error{Code::FailedPrecondition, "DB_FOREIGN",
                 "'" + database.path().string() + "' is not a database of Reeve"};
  if (schema > newest)
    return Error{Code::FailedPrecondition, "DB_NEWER_SCHEMA",
                 "'" + database.path().string() + "' has schema " + std::to_string(schema) +
                     ", this program knows " + std::to_string(newest)}
        .remedy("run the newer version of Reeve that wrote it, or restore the backup '" +
                backup_path(database, newest + 1).string() + "'")
        .with("schema", std::to_string(schema))
        .with("newest", std::to_string(newest));
  return schema;
}

Result<SchemaVersions> migrate(Database& database, std::span<const Migration> migrations) {
  const int newest = migrations.empty() ? 0 : migrations.back().number;
  const int before = TRY(check_schema(database, newest));
  if (before == newest) return SchemaVersions{before, newest};
  // A migration may rebuild a table that others refer to; apply() checks the references instead.
  TRY(database.run_script("PRAGMA foreign_keys = OFF"));
  auto outcome = apply_all(database, migrations, before);
  TRY(database.run_script("PRAGMA foreign_keys = ON"));
  if (!outcome.ok()) return std::move(outcome).error();
  return SchemaVersions{before, newest};
}

}  // namespace reeve::db
