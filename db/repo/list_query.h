// db/repo/list_query.h - builds the SELECT of a list: filter, keyset paging, order.
//
// A list walks an index in its order and drops what the filter does not want, so that a page costs
// no more than the rows it looks at; only a single `column = value` or beginning of a name chooses
// another index. Column names come from here, never from a caller; what a caller gives is bound.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/object.h"
#include "db/sqlite/transaction.h"
#include "db/sqlite/value.h"

namespace reeve::db {

struct OrderColumn {
  enum class Type { UniqueText, UniqueNumber, Text, Number };
  std::string_view name{};
  Type type = Type::UniqueText;  ///< rows of equal value are ordered by uid

  bool is_unique() const { return type == Type::UniqueText || type == Type::UniqueNumber; }
};

class ListQuery {
 public:
  /// `select` is "SELECT columns FROM table ". The filter outlives the query.
  ListQuery(std::string_view select, const Filter& filter, const OrderColumn& order);

  ListQuery& condition(std::string_view sql);
  ListQuery& condition(std::string_view sql, const Value& value);

  /// Adds the page and runs it. InvalidArgument/BAD_PAGE when the key does not fit the order or the
  /// limit is below 1.
  Result<Statement> run(ReadTransaction& tx, const Page& page);

 private:
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
  void group(const AnyOf& any);
  void single(const Restriction& restriction);
  void glob(const Restriction& restriction);
  /// The SQL of a test, whose value is added. `walked`: no index is to be chosen for it.
  std::string test(const Restriction& restriction, bool walked);
  Status after(const Page& page);

  const OrderColumn order_;
  std::string sql_;
  std::string_view joint_ = "WHERE ";
  std::vector<Value> values_;
  std::deque<std::string> kept_;  // texts that values_ points into
};

/// Whether the row `uid` of an object's table passes one of the tests. False when there is none.
Result<bool> row_passes(ReadTransaction& tx, ObjectKind kind, std::string_view uid,
                        const AnyOf& any);

/// Reads every row with `read(statement)`.
template <class Read>
auto read_all(Statement& rows, Read read) -> Result<std::vector<decltype(read(rows))>> {
  std::vector<decltype(read(rows))> out;
  while (TRY(rows.step())) out.push_back(read(rows));
  return out;
}

}  // namespace reeve::db
