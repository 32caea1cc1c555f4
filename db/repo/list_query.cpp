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

std::string_view sql_of(Column column) {
  switch (column) {
    case Column::Uid: return "uid";
    case Column::Name: return "name";
    case Column::State: return "state";
    case Column::Kind: return "kind";
    case Column::HostUid: return "host_uid";
    case Column::HypervisorUid: return "hypervisor_uid";
    case Column::TargetUid: return "target_uid";
    case Column::ParentUid: return "parent_uid";
    case Column::JobUid: return "job_uid";
    case Column::Actor: return "actor";
    case Column::Peer: return "peer";
    case Column::Method: return "method";
    case Column::Resource: return "resource";
    case Column::Reason: return "reason";
    case Column::Code: return "code";
    case Column::Sequence: return "seq";
    case Column::Revision: return "revision";
    case Column::CreateTime: return "create_time";
    case Column::UpdateTime: return "update_time";
    case Column::FinishTime: return "finish_time";
    case Column::Time: return "time";
    case Column::ShownKind: return "CASE kind WHEN 'hypervisor' THEN 'host' ELSE kind END";
    case Column::ShownUid: return "CASE kind WHEN 'hypervisor' THEN host_uid ELSE uid END";
    case Column::ShownGone: return "(deleted = 1 AND kind <> 'hypervisor')";
  }
  return "";
}

std::string_view sign_of(Compare compare) {
  switch (compare) {
    case Compare::Equal: return " = ?";
    case Compare::Glob: return " GLOB ?";
    case Compare::Less: return " < ?";
    case Compare::AtMost: return " <= ?";
    case Compare::More: return " > ?";
    case Compare::AtLeast: return " >= ?";
  }
  return "";
}

bool is_range(Compare compare) {
  return compare != Compare::Equal && compare != Compare::Glob;
}

std::string_view text_of(const Restriction& restriction) {
  const auto* text = std::get_if<std::string>(&restriction.value);
  return text == nullptr ? std::string_view() : *text;
}

Value bound(const FilterValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return std::string_view(*text);
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  return std::monostate{};
}

}  // namespace

ListQuery::ListQuery(std::string_view select, const Filter& filter, const OrderColumn& order)
    : order_(order), sql_(select) {
  for (const auto& any : filter.all_of) group(any);
}

ListQuery& ListQuery::condition(std::string_view sql) {
  sql_.append(joint_).append(sql).append(" ");
  joint_ = "AND ";
  return *this;
}

ListQuery& ListQuery::condition(std::string_view sql, const Value& value) {
  values_.push_back(value);
  return condition(sql);
}

void ListQuery::group(const AnyOf& any) {
  if (any.size() == 1) return single(any.front());
  std::string sql = "(";
  for (const auto& restriction : any) {
    if (sql.size() > 1) sql += " OR ";
    sql += test(restriction, true);
  }
  condition(sql += ")");
}

void ListQuery::single(const Restriction& restriction) {
  if (restriction.compare == Compare::Glob && !restriction.negated) return glob(restriction);
  const bool ordered_by = sql_of(restriction.column) == order_.name;
  condition(test(restriction, is_range(restriction.compare) && !ordered_by));
}

std::string ListQuery::test(const Restriction& restriction, bool walked) {
  const auto& [column, compare, value, negated] = restriction;
  const auto sql = std::string(walked ? "+" : "").append(sql_of(column));
  if (std::holds_alternative<std::monostate>(value))
    return sql + (negated ? " IS NOT NULL" : " IS NULL");
  if (compare == Compare::Glob) {
    values_.emplace_back(keep(to_sqlite_glob(text_of(restriction))));
  } else {
    values_.push_back(bound(value));
  }
  if (!negated) return sql + std::string(sign_of(compare));
  if (compare == Compare::Equal) return sql + " IS NOT ?";
  // A NULL passes no test, and so passes the opposite of each.
  return "(" + sql + std::string(sign_of(compare)) + ") IS NOT 1";
}

void ListQuery::glob(const Restriction& restriction) {
  const std::string column(sql_of(restriction.column));
  const auto glob = text_of(restriction);
  const auto wild = glob.find_first_of("*?");
  if (glob == "*") return;
  if (wild == std::string_view::npos) {
    condition(column + " = ?", glob);
    return;
  }
  // The beginning of a name or uid is a range of its index.
  const bool by_name = restriction.column == Column::Name || restriction.column == Column::Uid;
  if (by_name && wild > 0) {
    const auto prefix = glob.substr(0, wild);
    condition(column + " >= ?", prefix);
    if (auto end = end_of_prefix(std::string(prefix)); !end.empty())
      condition(column + " < ?", keep(std::move(end)));
    if (wild + 1 == glob.size() && glob[wild] == '*') return;  // the range says it all
  }
  condition("+" + column + " GLOB ?", keep(to_sqlite_glob(glob)));
}

Status ListQuery::after(const Page& page) {
  if (!page.after) return {};
  const std::string column(order_.name);
  const std::string_view than = page.descending ? "<" : ">";
  Value value = std::string_view(page.after->value);
  using Type = OrderColumn::Type;
  if (order_.type == Type::Number || order_.type == Type::UniqueNumber) {
    std::int64_t number = 0;
    const auto& text = page.after->value;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size())
      return Error{Code::InvalidArgument, "BAD_PAGE", "page key is not a number"};
    value = number;
  }
  if (order_.is_unique()) {
    condition(column + " " + std::string(than) + " ?", value);
    return {};
  }
  condition("(" + column + ", uid) " + std::string(than) + " (?, ?)", value);
  values_.emplace_back(std::string_view(page.after->uid));
  return {};
}

Result<Statement> ListQuery::run(ReadTransaction& tx, const Page& page) {
  if (page.limit < 1)
    return Error{Code::InvalidArgument, "BAD_PAGE", "a page has at least one row"};
  TRY(after(page));
  const std::string_view direction = page.descending ? " DESC" : "";
  sql_.append("ORDER BY ").append(order_.name).append(direction);
  if (!order_.is_unique()) sql_.append(", uid").append(direction);
  sql_.append(" LIMIT ?");
  values_.emplace_back(std::int64_t{page.limit});
  return tx.query_values(sql_, values_);
}

Result<bool> row_passes(ReadTransaction& tx, ObjectKind kind, std::string_view uid,
                        const AnyOf& any) {
  Filter filter(Column::Uid, std::string(uid));
  filter.also(any);
  const std::string select = "SELECT 1 FROM " + std::string(to_text(kind)) + " ";
  ListQuery query(select, filter, {"uid", OrderColumn::Type::UniqueText});
  auto rows = TRY(query.run(tx, {.limit = 1}));
  return rows.step();
}

}  // namespace reeve::db
