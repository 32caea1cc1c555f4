#include "db/repo/list_query.h"

#include <charconv>

namespace reeve::db {
namespace {

/// The least text above everything that begins with `prefix`; empty when there is none.
std::string end_of_prefix(std::string prefix) {
  while (!prefix.empty()) {
    auto& last = prefix.back();
    if (static_cast<unsigned char>(last) != 0xff) {
      last = static_cast<char>(static_cast<unsigned char>(last) + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return prefix;
}

/// SQLite's GLOB knows [...] as well; ours does not, so a bracket stands for itself.
std::string to_sqlite_glob(std::string_view glob) {
  std::string out;
  for (const char c : glob) {
    if (c == '[') {
      out += "[[]";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

ListQuery& ListQuery::condition(std::string_view sql) {
  sql_.append(joint_).append(sql).append(" ");
  joint_ = "AND ";
  return *this;
}

ListQuery& ListQuery::condition(std::string_view sql, const Value& value) {
  values_.push_back(value);
  return condition(sql);
}

ListQuery& ListQuery::equals(std::string_view column, std::string_view value) {
  if (value.empty()) return *this;
  return condition(std::string(column) + " = ?", value);
}

ListQuery& ListQuery::name_glob(std::string_view glob) {
  if (glob.empty() || glob == "*") return *this;
  const auto wild = glob.find_first_of("*?");
  if (wild == std::string_view::npos) return equals("name", glob);
  if (wild > 0) {
    const auto prefix = glob.substr(0, wild);
    condition("name >= ?", prefix);
    if (auto end = end_of_prefix(std::string(prefix)); !end.empty())
      condition("name < ?", keep(std::move(end)));
  }
  if (wild + 1 == glob.size() && glob[wild] == '*') return *this;  // the range says it all
  return condition("name GLOB ?", keep(to_sqlite_glob(glob)));
}

Status ListQuery::after(const OrderColumn& order, const Page& page) {
  if (!page.after) return {};
  const std::string column(order.name);
  const std::string_view than = page.descending ? "<" : ">";
  if (order.type == OrderColumn::Type::UniqueText) {
    condition(column + " " + std::string(than) + " ?", page.after->value);
    return {};
  }
  Value value = std::string_view(page.after->value);
  if (order.type == OrderColumn::Type::Number) {
    std::int64_t number = 0;
    const auto& text = page.after->value;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size())
      return Error{Code::InvalidArgument, "BAD_PAGE", "page key is not a number"};
    value = number;
  }
  condition("(" + column + ", uid) " + std::string(than) + " (?, ?)", value);
  values_.emplace_back(std::string_view(page.after->uid));
  return {};
}

Result<Statement> ListQuery::run(ReadTransaction& tx, const OrderColumn& order, const Page& page) {
  if (page.limit < 1)
    return Error{Code::InvalidArgument, "BAD_PAGE", "a page has at least one row"};
  TRY(after(order, page));
  const std::string_view direction = page.descending ? " DESC" : "";
  sql_.append("ORDER BY ").append(order.name).append(direction);
  if (order.type != OrderColumn::Type::UniqueText) sql_.append(", uid").append(direction);
  sql_.append(" LIMIT ?");
  values_.emplace_back(std::int64_t{page.limit});
  return tx.query_values(sql_, values_);
}

}  // namespace reeve::db
