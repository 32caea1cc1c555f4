// db/sqlite/migrate.h - brings a database file to this program's schema, one numbered step at a
// time.
//
// The schema number is SQLite's user_version; application_id says that the file is ours. Each
// migration is one transaction, so a crash leaves the schema before it or after it. Before a
// migration of a database that has a schema already, an online backup goes to `<file>.before-NNNN`.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"
#include "db/sqlite/database.h"

namespace reeve::db {

/// "Reev" as SQLite's application_id.
inline constexpr std::int64_t kApplicationId = 0x52656576;

struct Migration {
  int number = 0;  ///< 1, 2, 3, ... without gaps
  std::string_view name{};
  std::string_view sql{};
};

/// db/migrations/*.sql, built in.
std::span<const Migration> embedded_migrations();

struct SchemaVersions {
  int before = 0;  ///< 0 for a new file
  int after = 0;
};

/// FailedPrecondition/DB_NEWER_SCHEMA when the file was written by a newer Reeve (both numbers in
/// the message), FailedPrecondition/DB_FOREIGN when it is another program's database.
Result<SchemaVersions> migrate(Database& database, std::span<const Migration> migrations);

/// The two refusals of migrate() alone, without changing anything. Returns the file's schema
/// number.
Result<int> check_schema(Database& database, int newest);

}  // namespace reeve::db
