// server/app/list_filter.h - what a filter asks of the rows of one list, by the keys that the list
// knows.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/map.h>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/object.h"
#include "db/readers.h"
#include "server/app/list_request.h"

namespace reeve::server {

struct FilterKey {
  enum class Type {
    Text,    ///< takes `*` and `?`
    Word,    ///< one of `words`, in any case
    Number,  ///< can be compared
    Time,    ///< can be compared
    Other,   ///< what `read` makes of it
  };
  std::string_view name{};
  db::Column column{};
  Type type = Type::Text;
  std::string_view words{};  ///< as stored, separated by spaces
  /// Of key = value. Errors: InvalidArgument.
  Result<db::Restriction> (*read)(const std::string& value, db::ReadTransaction& tx) = nullptr;
};

inline constexpr FilterKey kUidKey{"uid", db::Column::Uid};
inline constexpr FilterKey kDisplayNameKey{"display_name", db::Column::Name};
inline constexpr FilterKey kCreateTimeKey{"create_time", db::Column::CreateTime,
                                          FilterKey::Type::Time};
inline constexpr FilterKey kUpdateTimeKey{"update_time", db::Column::UpdateTime,
                                          FilterKey::Type::Time};

/// Whether the objects of a list have labels, and label.KEY is a key.
enum class Labels { No, Yes };

class ListFilter {
 public:
  /// InvalidArgument/BAD_FILTER, or what a key's read() says.
  static Result<ListFilter> read(std::string_view text, std::span<const FilterKey> keys,
                                 Labels labels, db::Readers& readers);

  /// What the database decides.
  db::Filter rows{};

  /// What it does not: labels are in documents. Only for rows that `rows` let through.
  Result<bool> labels_match(db::ReadTransaction& tx, db::ObjectKind kind,
                            const auto& resource) const {
    return labels_match(tx, kind, resource.uid(), resource.labels());
  }

 private:
  using LabelMap = google::protobuf::Map<std::string, std::string>;
  struct LabelTest {
    std::string key{};
    std::optional<std::string> value{};  ///< has it, when there is none
    bool negated = false;

    bool passes(const LabelMap& labels) const;
  };
  struct LabelGroup {
    std::vector<LabelTest> tests{};
    db::AnyOf others{};  ///< tests of the row that are in the same group
  };
  static Result<LabelTest> label_test_of(const FilterTerm& term);
  Status add(const std::vector<FilterTerm>& terms, std::span<const FilterKey> keys, Labels labels,
             db::ReadTransaction& tx);
  Result<bool> labels_match(db::ReadTransaction& tx, db::ObjectKind kind, std::string_view uid,
                            const LabelMap& labels) const;

  std::vector<LabelGroup> label_groups_{};
};

/// The value as the word that is stored. BAD_FILTER naming `known`, which spaces separate.
Result<std::string> filter_word(std::string_view value, std::string_view known);
/// "true" or "false", in any case. Errors of filter_word().
Result<bool> filter_flag(std::string_view value);

}  // namespace reeve::server
