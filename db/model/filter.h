// db/model/filter.h - which rows of a table a list is asked for: tests of columns, joined by OR in
// groups, which are joined by AND.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"

namespace reeve::db {

/// What rows are chosen by. No table has all of them; to ask one for what it has not is a mistake
/// of the program, which SQLite refuses.
enum class Column {
  Uid,
  Name,
  State,
  Kind,
  HostUid,
  HypervisorUid,
  TargetUid,
  ParentUid,
  JobUid,
  Actor,
  Peer,
  Method,
  Resource,
  Reason,
  Code,
  Sequence,
  Revision,
  CreateTime,
  UpdateTime,
  FinishTime,
  Time,
  ShownKind,  ///< of a version: a hypervisor's are shown as changes of its host,
  ShownUid,   ///< which is then the object,
  ShownGone,  ///< and is not gone with it (0 or 1)
};

enum class Compare {
  Equal,
  Glob,  ///< `*` and `?`; the value is text
  Less,
  AtMost,
  More,
  AtLeast,
};

/// Text, a number, or nothing: the column is NULL. Times are numbers, see time_value().
using FilterValue = std::variant<std::monostate, std::int64_t, std::string>;

inline FilterValue time_value(WallTime time) {
  return to_micros(time);
}

/// One test of a column. `negated` is exactly the opposite, also where the column is NULL.
struct Restriction {
  Column column{};
  Compare compare = Compare::Equal;
  FilterValue value{};
  bool negated = false;
};

/// Joined by OR; never empty.
using AnyOf = std::vector<Restriction>;

/// Joined by AND; every row when empty.
struct Filter {
  std::vector<AnyOf> all_of{};

  Filter() = default;
  Filter(Column column, FilterValue value) { also(column, std::move(value)); }

  Filter& also(AnyOf group) {
    all_of.push_back(std::move(group));
    return *this;
  }
  Filter& also(Column column, FilterValue value) {
    return also({{.column = column, .value = std::move(value)}});
  }
};

}  // namespace reeve::db
