#include "db/sqlite/database.h"

#include <fcntl.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/file.h"
#include "db/sqlite/error.h"
#include "db/sqlite/transaction.h"

namespace reeve::db {
namespace {

/// Statements kept per connection; lists with rare filters beyond it are prepared again.
constexpr std::size_t kMaxIdleStatements = 256;

int open_flags(Access access) {
  switch (access) {
    case Access::Create:
    case Access::CreateFile: return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    case Access::Write:
    case Access::Read: return SQLITE_OPEN_READWRITE;
    case Access::ReadFile: return SQLITE_OPEN_READONLY;
  }
  return 0;
}

/// SQLite would make the file readable for everyone that umask lets (WAL and shm copy its mode),
/// and does not see to it that its name survives a power cut.
Status make_private_file(const std::filesystem::path& path) {
  const auto made = open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (made.ok()) return sync_dir(std::filesystem::absolute(path).parent_path());
  if (made.error().reason() == "FILE_EXISTS") return {};
  return made.error();
}

bool creates(Access access) {
  return access == Access::Create || access == Access::CreateFile;
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& path,
                                                 const OpenOptions& options) {
  if (creates(options.access) && options.vfs.empty()) {
    const auto made = make_private_file(path);
    if (!made.ok())
      return Error{Code::FailedPrecondition, "DB_CANNOT_OPEN",
                   "opening database '" + path.string() + "': " + made.error().message()};
  }
  std::unique_ptr<Database> database(new Database(path, options));
  const int rc =
      sqlite3_open_v2(path.c_str(), &database->handle_,
                      open_flags(options.access) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                      options.vfs.empty() ? nullptr : options.vfs.c_str());
  const auto what = "opening database '" + path.string() + "'";
  if (rc != SQLITE_OK) return database->error(rc, what);
  auto configured = database->configure();
  if (!configured.ok()) return std::move(configured).error().during(what);
  return database;
}

Database::~Database() {
  for (auto& [sql, handles] : idle_)
    for (sqlite3_stmt* handle : handles) sqlite3_finalize(handle);
  const int rc = sqlite3_close(handle_);
  REEVE_CHECK(rc == SQLITE_OK);  // a Statement outlived its Database
}

Status Database::configure() {
  sqlite3_busy_timeout(handle_, static_cast<int>(options_.busy_timeout.count()));
  for (const int on : {SQLITE_DBCONFIG_DEFENSIVE, SQLITE_DBCONFIG_ENABLE_FKEY})
    sqlite3_db_config(handle_, on, 1, nullptr);
  for (const int off : {SQLITE_DBCONFIG_TRUSTED_SCHEMA, SQLITE_DBCONFIG_DQS_DML,
                        SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION})
    sqlite3_db_config(handle_, off, 0, nullptr);
  TRY(
      run_script("PRAGMA synchronous = FULL;"
                 "PRAGMA cell_size_check = ON;"
                 "PRAGMA mmap_size = 0;"
                 "PRAGMA temp_store = MEMORY;"
                 "PRAGMA secure_delete = FAST;"
                 "PRAGMA journal_size_limit = 67108864;"
                 "PRAGMA cache_size = -" +
                 std::to_string(options_.cache_kib)));
  switch (options_.access) {
    case Access::Create:
    case Access::Write: {
      auto mode = TRY(prepare("PRAGMA journal_mode = WAL", {}));
      if (!TRY(mode.step()) || mode.text(0) != "wal")
        return Error{Code::Internal, "DB_ERROR", "the file system cannot hold a WAL"};
      return {};
    }
    case Access::Read:
      return run_script("PRAGMA query_only = ON; SELECT count(*) FROM sqlite_schema");
    case Access::CreateFile:
    case Access::ReadFile: return run_script("SELECT count(*) FROM sqlite_schema");
  }
  return {};
}

Error Database::error(int result_code, std::string_view what) const {
  return sqlite_error(handle_, result_code, what);
}

Result<Statement> Database::prepare(std::string_view sql, std::span<const Value> values) {
  sqlite3_stmt* handle = nullptr;
  if (const auto it = idle_.find(sql); it != idle_.end() && !it->second.empty()) {
    handle = it->second.back();
    it->second.pop_back();
    --idle_count_;
  } else {
    const int rc = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
    if (rc != SQLITE_OK) return statement_error(handle_, rc, sql);
  }
  Statement statement(*this, handle);
  TRY(statement.bind(values));
  return statement;
}

void Database::give_back(sqlite3_stmt* handle) {
  sqlite3_reset(handle);
  if (idle_count_ >= kMaxIdleStatements) {
    sqlite3_finalize(handle);
    return;
  }
  sqlite3_clear_bindings(handle);
  const std::string_view sql = sqlite3_sql(handle);
  auto it = idle_.find(sql);
  if (it == idle_.end()) it = idle_.emplace(std::string(sql), std::vector<sqlite3_stmt*>{}).first;
  it->second.push_back(handle);
  ++idle_count_;
}

std::vector<std::string> Database::cached_sql() const {
  std::vector<std::string> out;
  for (const auto& [sql, handles] : idle_) out.push_back(sql);
  return out;
}

Result<Transaction> Database::begin() {
  REEVE_CHECK(is_idle());
  {
    auto begin = TRY(prepare("BEGIN IMMEDIATE", {}));
    TRY(begin.step());
  }
  return Transaction(*this);
}

Result<ReadTransaction> Database::begin_read() {
  REEVE_CHECK(is_idle());
  {
    auto begin = TRY(prepare("BEGIN", {}));
    TRY(begin.step());
  }
  return ReadTransaction(*this);
}

Status Database::quick_check() {
  auto rows = TRY(prepare("PRAGMA quick_check(5)", {}));
  std::string findings;
  while (TRY(rows.step())) {
    const auto line = rows.text(0);
    if (line != "ok") findings += (findings.empty() ? "" : "; ") + line;
  }
  if (findings.empty()) return {};
  return Error{Code::DataLoss, "DB_CORRUPT", "database '" + path_.string() + "': " + findings}
      .remedy("restore the newest verified backup");
}

Status Database::checkpoint() {
  const int rc =
      sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  if (rc != SQLITE_OK) return error(rc, "checkpoint");
  return {};
}

Status Database::run_script(std::string_view sql) {
  const int rc = sqlite3_exec(handle_, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return error(rc, "running SQL");
  return {};
}

Result<std::int64_t> Database::pragma(std::string_view name) {
  auto row = TRY(prepare("PRAGMA " + std::string(name), {}));
  if (!TRY(row.step())) return std::int64_t{0};
  return row.integer(0);
}

int Database::changed_rows() const {
  return sqlite3_changes(handle_);
}

bool Database::is_idle() const {
  return sqlite3_get_autocommit(handle_) != 0;
}

}  // namespace reeve::db
