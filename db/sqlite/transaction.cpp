#include "db/sqlite/transaction.h"

#include <utility>

#include "base/check.h"

namespace reeve::db {

ReadTransaction::ReadTransaction(ReadTransaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

ReadTransaction::~ReadTransaction() {
  if (database_ == nullptr || database_->is_idle()) return;
  auto rollback = database_->prepare("ROLLBACK", {});
  if (rollback.ok())
    (void)rollback.value().step();  // nobody is left to tell; SQLite ends it anyway
}

Result<Statement> ReadTransaction::query_values(std::string_view sql,
                                                std::span<const Value> values) {
  REEVE_CHECK(database_ != nullptr);
  return database_->prepare(sql, values);
}

Result<int> Transaction::execute_values(std::string_view sql, std::span<const Value> values) {
  auto statement = TRY(query_values(sql, values));
  while (TRY(statement.step())) {
  }
  return database_->changed_rows();
}

Status Transaction::run_script(std::string_view sql) {
  return database_->run_script(sql);
}

bool Transaction::is_lost() const {
  return database_->is_idle();
}

Status Transaction::nested(const std::function<Status(Transaction&)>& work) {
  TRY(execute("SAVEPOINT nested"));
  Status outcome = work(*this);
  if (is_lost()) {
    if (!outcome.ok()) return outcome;
    return Error{Code::Unavailable, "DB_IO", "the transaction was rolled back by SQLite"};
  }
  if (outcome.ok()) {
    outcome = execute_and_forget("RELEASE nested");
    if (outcome.ok()) return {};
  }
  TRY(execute("ROLLBACK TO nested"));
  TRY(execute("RELEASE nested"));
  return outcome;
}

Status Transaction::execute_and_forget(std::string_view sql) {
  TRY(execute(sql));
  return {};
}

Status Transaction::commit() {
  REEVE_CHECK(database_ != nullptr);
  Status outcome = execute_and_forget("COMMIT");
  // After a failed COMMIT the transaction may still be open; nothing of it may stay.
  if (!outcome.ok() && !database_->is_idle()) (void)execute_and_forget("ROLLBACK");
  database_ = nullptr;
  return outcome;
}

}  // namespace reeve::db
