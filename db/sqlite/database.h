// db/sqlite/database.h - one connection to one SQLite file, opened the way Reeve wants it.
//
// WAL, synchronous=FULL, foreign keys on, schema not trusted, defensive mode, cell sizes checked,
// extended error codes, double-quoted strings refused. A Database is used by one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/sqlite/statement.h"
#include "db/sqlite/value.h"

struct sqlite3;
struct sqlite3_stmt;

namespace reeve::db {

class ReadTransaction;
class Transaction;

enum class Access {
  Create,      ///< read and write; the file is made when absent
  Write,       ///< read and write; the file must exist
  Read,        ///< writes are refused by SQLite itself; the file must exist
  CreateFile,  ///< read and write, one self-contained file without a WAL: a backup being made
  ReadFile,    ///< a file nobody writes (a backup), opened read-only; no journal is made beside it
};

struct OpenOptions {
  Access access = Access::Create;
  std::string vfs{};  ///< name of a registered SQLite VFS; empty for the system's
  std::chrono::milliseconds busy_timeout{5000};
  int cache_kib = 16 * 1024;
};

class Database {
 public:
  /// FailedPrecondition/DB_CANNOT_OPEN, DataLoss/DB_CORRUPT when it is not a database at all.
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& path,
                                                const OpenOptions& options = {});
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// BEGIN IMMEDIATE: waits for other writers up to the busy timeout, then Unavailable/DB_BUSY.
  Result<Transaction> begin();
  /// A snapshot: what it sees is fixed by its first query.
  Result<ReadTransaction> begin_read();

  /// Reads every page and index. DataLoss/DB_CORRUPT with SQLite's first findings in the message.
  Status quick_check();
  /// Copies the WAL into the file and empties it. Unavailable/DB_BUSY while readers hold it.
  Status checkpoint();

  /// Statements without results that no transaction needs: PRAGMAs and migrations. May hold
  /// several.
  Status run_script(std::string_view sql);
  Result<std::int64_t> pragma(std::string_view name);

  const std::filesystem::path& path() const { return path_; }
  const std::string& vfs() const { return options_.vfs; }
  /// True outside a transaction, also after SQLite rolled one back by itself (disk full, I/O
  /// error).
  bool is_idle() const;
  /// Texts of the statements prepared so far: for tests of their query plans.
  std::vector<std::string> cached_sql() const;
  /// For db/sqlite alone.
  sqlite3* handle() const { return handle_; }

 private:
  friend class Statement;
  friend class ReadTransaction;
  friend class Transaction;

  Database(std::filesystem::path path, OpenOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}
  Status configure();
  Result<Statement> prepare(std::string_view sql, std::span<const Value> values);
  void give_back(sqlite3_stmt* handle);
  int changed_rows() const;
  Error error(int result_code, std::string_view what) const;

  const std::filesystem::path path_;
  const OpenOptions options_;
  sqlite3* handle_ = nullptr;
  /// Idle statements by their text; a statement in use is not in here.
  std::map<std::string, std::vector<sqlite3_stmt*>, std::less<>> idle_;
  std::size_t idle_count_ = 0;
};

}  // namespace reeve::db
