#include "db/sqlite/error.h"

#include <string>

#include <sqlite3.h>
#include <sys/statvfs.h>

namespace reeve::db {
namespace {

/// "what: UNIQUE constraint failed: vm.name" -> "vm.name".
std::string columns_of(std::string_view text) {
  const auto colon = text.rfind(": ");
  return std::string(colon == std::string_view::npos ? text : text.substr(colon + 2));
}

Error constraint_error(int extended, std::string text) {
  switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: {
      auto columns = columns_of(text);
      return Error{Code::AlreadyExists, "DB_UNIQUE", "there is another row with this " + columns}
          .with("columns", columns);
    }
    case SQLITE_CONSTRAINT_FOREIGNKEY:
      return {Code::FailedPrecondition, "DB_FOREIGN_KEY", std::move(text)};
    default: return {Code::Internal, "DB_CONSTRAINT", std::move(text)};
  }
}

/// Names the file and what its disk has left; a small commit may still fit there.
Error disk_full(sqlite3* connection) {
  const char* name = connection == nullptr ? nullptr : sqlite3_db_filename(connection, "main");
  const std::string file = name == nullptr ? "" : name;
  struct statvfs disk {};
  const bool known = !file.empty() && ::statvfs(file.c_str(), &disk) == 0;
  const auto free = known ? std::to_string(std::uint64_t{disk.f_bavail} * disk.f_frsize) : "few";
  return Error{Code::ResourceExhausted, "DISK_FULL",
               "the disk under the database '" + file + "' is full: " + free + " bytes are free"}
      .with("free_bytes", free)
      .remedy("free space where the database is; nothing was lost and reads go on");
}

}  // namespace

Error sqlite_error(sqlite3* connection, int result_code, std::string_view what) {
  std::string text(what);
  text += ": ";
  text += connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(result_code);
  switch (result_code & 0xff) {
    case SQLITE_CONSTRAINT: return constraint_error(result_code, std::move(text));
    case SQLITE_FULL: return disk_full(connection);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error{Code::DataLoss, "DB_CORRUPT", std::move(text)}.remedy(
          "restore the newest verified backup");
    case SQLITE_IOERR: return {Code::Unavailable, "DB_IO", std::move(text)};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return {Code::Unavailable, "DB_BUSY", std::move(text)};
    case SQLITE_READONLY: return {Code::FailedPrecondition, "DB_READ_ONLY", std::move(text)};
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH: return {Code::FailedPrecondition, "DB_CANNOT_OPEN", std::move(text)};
    case SQLITE_TOOBIG: return {Code::InvalidArgument, "DB_TOO_BIG", std::move(text)};
    case SQLITE_INTERRUPT: return {Code::Cancelled, "DB_INTERRUPTED", std::move(text)};
    default: return {Code::Internal, "DB_ERROR", std::move(text)};
  }
}

Error statement_error(sqlite3* connection, int result_code, std::string_view sql) {
  switch (result_code & 0xff) {
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH: return sqlite_error(connection, result_code, sql);
    default: return sqlite_error(connection, result_code, "database");
  }
}

bool is_damage(const Error& error) {
  return error.reason() == "DB_CORRUPT";
}

}  // namespace reeve::db
