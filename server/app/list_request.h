// server/app/list_request.h - paging, filters and order of List methods.
//
//   filter   = [ term *( " AND " term ) ]
//   term     = key " = " value          spaces around "=" are free
//   value    = word | quoted            "with spaces" or 'with spaces', \ before a quote or
//   \ inside
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/object.h"

namespace reeve::server {

struct FilterTerm {
  std::string key{};
  std::string value{};
};

/// InvalidArgument/BAD_FILTER. At most 16 terms.
Result<std::vector<FilterTerm>> parse_filter(std::string_view text);
Error bad_filter(std::string_view problem);

struct Order {
  std::string key{};
  bool descending = false;
};
/// InvalidArgument/BAD_FILTER when it is not one of `known`; the first of them when empty.
Result<Order> parse_order(std::string_view text, const std::vector<std::string>& known);

/// 50 when 0, capped at 1000; InvalidArgument/BAD_FIELD when negative.
Result<int> page_size_of(int asked);

/// Opaque, and bound to what the list was asked for: another filter or order refuses it.
std::string page_token(const db::PageKey& key, std::string_view bound_to);
/// Nothing for an empty token. InvalidArgument/BAD_PAGE_TOKEN.
Result<std::optional<db::PageKey>> parse_page_token(std::string_view token,
                                                    std::string_view bound_to);

/// A state as a filter names it ("RUNNING") as the word that is stored. BAD_FILTER naming `known`.
Result<std::string> filter_word(std::string_view value, const std::vector<std::string>& known);
/// "true" or "false", in any case. Errors of filter_word().
Result<bool> filter_flag(std::string_view value);

}  // namespace reeve::server
