// db/sqlite/statement.h - a prepared statement borrowed from its connection's cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "db/sqlite/value.h"

struct sqlite3_stmt;

namespace reeve::db {

class Database;

/// Goes back to the cache, reset and unbound, when destroyed. Never outlives its Database; the
/// thread that uses the Database uses this. Columns count from 0 and are valid after step() gave
/// true.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  /// True when a row is there, false at the end. Errors: db/sqlite/error.h.
  Result<bool> step();

  std::int64_t integer(int column) const;
  bool boolean(int column) const { return integer(column) != 0; }
  int small(int column) const { return static_cast<int>(integer(column)); }
  /// TEXT; empty for NULL.
  std::string text(int column) const;
  /// BLOB; empty for NULL.
  std::string blob(int column) const;
  WallTime time(int column) const { return from_micros(integer(column)); }
  std::optional<WallTime> maybe_time(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  Statement(Database& database, sqlite3_stmt* handle) : database_(&database), handle_(handle) {}
  Status bind(std::span<const Value> values);

  Database* database_;
  sqlite3_stmt* handle_;
};

}  // namespace reeve::db
