// db/repo/list_query.h - builds the SELECT of a list: filters that are set, keyset paging, order.
//
// Column names come from the repositories, never from a caller; what a caller gives is bound.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/object.h"
#include "db/sqlite/transaction.h"
#include "db/sqlite/value.h"

namespace reeve::db {

struct OrderColumn {
  enum class Type { UniqueText, Text, Number };
  std::string_view name{};
  Type type = Type::UniqueText;  ///< rows of equal value are ordered by uid
};

class ListQuery {
 public:
  /// `select` is "SELECT columns FROM table ".
  explicit ListQuery(std::string_view select) : sql_(select) {}

  /// No filter when `value` is empty.
  ListQuery& equals(std::string_view column, std::string_view value);
  ListQuery& condition(std::string_view sql);
  ListQuery& condition(std::string_view sql, const Value& value);
  /// `*` and `?` over column `name`; no filter when empty. A literal beginning becomes a range, so
  /// that the index is used.
  ListQuery& name_glob(std::string_view glob);

  /// Adds the page and runs it. InvalidArgument/BAD_PAGE when the key does not fit the order or the
  /// limit is below 1.
  Result<Statement> run(ReadTransaction& tx, const OrderColumn& order, const Page& page);

 private:
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
  Status after(const OrderColumn& order, const Page& page);

  std::string sql_;
  std::string_view joint_ = "WHERE ";
  std::vector<Value> values_;
  std::deque<std::string> kept_;  // texts that values_ points into
};

/// Reads every row with `read(statement)`.
template <class Read>
auto read_all(Statement& rows, Read read) -> Result<std::vector<decltype(read(rows))>> {
  std::vector<decltype(read(rows))> out;
  while (TRY(rows.step())) out.push_back(read(rows));
  return out;
}

}  // namespace reeve::db
