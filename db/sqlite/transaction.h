// db/sqlite/transaction.h - what happens together. A repository needs one to exist.
//
//   auto rows = TRY(tx.query("SELECT name FROM vm WHERE host_uid = ?", host_uid));
//   while (TRY(rows.step())) names.push_back(rows.text(0));
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "db/sqlite/database.h"
#include "db/sqlite/statement.h"
#include "db/sqlite/value.h"

namespace reeve::db {

/// A snapshot of the whole database. Ends when destroyed; statements must be gone by then.
class ReadTransaction {
 public:
  ReadTransaction(ReadTransaction&& other) noexcept;
  ReadTransaction& operator=(ReadTransaction&&) = delete;
  virtual ~ReadTransaction();

  template <class... Args>
  Result<Statement> query(std::string_view sql, const Args&... args) {
    const std::array<Value, sizeof...(Args)> values{to_value(args)...};
    return query_values(sql, values);
  }
  Result<Statement> query_values(std::string_view sql, std::span<const Value> values);

  /// First column of the first row; nothing when there is no row or it is NULL.
  template <class... Args>
  Result<std::optional<std::int64_t>> integer(std::string_view sql, const Args&... args) {
    auto rows = TRY(query(sql, args...));
    if (!TRY(rows.step()) || rows.is_null(0)) return std::optional<std::int64_t>{};
    return std::optional(rows.integer(0));
  }
  template <class... Args>
  Result<std::optional<std::string>> text(std::string_view sql, const Args&... args) {
    auto rows = TRY(query(sql, args...));
    if (!TRY(rows.step()) || rows.is_null(0)) return std::optional<std::string>{};
    return std::optional(rows.text(0));
  }

 protected:
  friend class Database;
  explicit ReadTransaction(Database& database) : database_(&database) {}

  Database* database_;  // null once moved from or ended; outlives the transaction
};

/// The right to write. Rolled back when destroyed without commit().
class Transaction final : public ReadTransaction {
 public:
  Transaction(Transaction&& other) noexcept = default;

  /// Runs one statement to its end; the number of rows changed.
  template <class... Args>
  Result<int> execute(std::string_view sql, const Args&... args) {
    const std::array<Value, sizeof...(Args)> values{to_value(args)...};
    return execute_values(sql, values);
  }
  Result<int> execute_values(std::string_view sql, std::span<const Value> values);
  /// Several statements without parameters: migrations.
  Status run_script(std::string_view sql);

  /// Runs `work` in a savepoint: when it fails, what it did is undone and its error returned, and
  /// the transaction goes on - unless SQLite gave up the whole transaction (is_lost()).
  Status nested(const std::function<Status(Transaction&)>& work);
  /// True when SQLite rolled everything back by itself (disk full, I/O error).
  bool is_lost() const;

  /// Durable when it returns success. After an error nothing of it is visible.
  Status commit();

 private:
  friend class Database;
  using ReadTransaction::ReadTransaction;
  Status execute_and_forget(std::string_view sql);
};

}  // namespace reeve::db
