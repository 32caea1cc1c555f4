#include "db/sqlite/statement.h"

#include <utility>

#include <sqlite3.h>

#include "db/sqlite/database.h"
#include "db/sqlite/error.h"

namespace reeve::db {

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), handle_(std::exchange(other.handle_, nullptr)) {}

Statement::~Statement() {
  if (handle_ != nullptr) database_->give_back(handle_);
}

Status Statement::bind(std::span<const Value> values) {
  int index = 0;
  for (const Value& value : values) {
    ++index;
    int rc = SQLITE_OK;
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      rc = sqlite3_bind_int64(handle_, index, *number);
    } else if (const auto* text = std::get_if<std::string_view>(&value)) {
      rc = sqlite3_bind_text64(handle_, index, text->data() != nullptr ? text->data() : "",
                               text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    } else if (const auto* blob = std::get_if<Blob>(&value)) {
      // A null pointer would store NULL instead of an empty BLOB.
      rc = sqlite3_bind_blob64(handle_, index, blob->bytes.empty() ? "" : blob->bytes.data(),
                               blob->bytes.size(), SQLITE_TRANSIENT);
    } else {
      rc = sqlite3_bind_null(handle_, index);
    }
    if (rc != SQLITE_OK) return statement_error(database_->handle(), rc, sqlite3_sql(handle_));
  }
  return {};
}

Result<bool> Statement::step() {
  const int rc = sqlite3_step(handle_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  return statement_error(database_->handle(), rc, sqlite3_sql(handle_));
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_, column);
}

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
}

std::string Statement::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
}

std::optional<WallTime> Statement::maybe_time(int column) const {
  if (is_null(column)) return std::nullopt;
  return time(column);
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

}  // namespace reeve::db
