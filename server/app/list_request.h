// server/app/list_request.h - paging, filters and order of List methods.
//
//   filter      = [ group *( " AND " group ) ]       AIP-160, of which this is a part:
//   group       = factor *( " OR " factor )          OR binds tighter than AND
//   factor      = [ "NOT " | "-" ] ( restriction | "(" filter ")" )
//   restriction = key ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value
//   value       = word | quoted            "with spaces" or 'with spaces', \ before a quote or
//   \ inside
//
// Spaces around signs are free. What is read is groups joined by AND, of restrictions joined by OR;
// parentheses that mean anything else are refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/object.h"

namespace reeve::server {

struct FilterTerm {
  enum class Sign { Equal, Less, AtMost, More, AtLeast, Has };
  std::string key{};
  Sign sign = Sign::Equal;
  std::string value{};
  bool negated = false;  ///< "!=", or NOT
};

/// Joined by OR; never empty.
using FilterGroup = std::vector<FilterTerm>;

/// Joined by AND. InvalidArgument/BAD_FILTER. At most 16 terms in all.
Result<std::vector<FilterGroup>> parse_filter(std::string_view text);
Error bad_filter(std::string_view problem);

struct Order {
  std::string key{};
  bool descending = false;
};
/// InvalidArgument/BAD_FILTER when it is not one of `known`; the first of them when empty.
Result<Order> parse_order(std::string_view text, const std::vector<std::string>& known);

/// 50 when 0, capped at 1000; InvalidArgument/BAD_FIELD when negative.
Result<int> page_size_of(int asked);

/// Rows looked at for one page at most; a filter that matches little then gives a short page with a
/// token.
inline constexpr int kMostRowsPerPage = 20'000;

/// Opaque, and bound to what the list was asked for: another filter or order refuses it.
std::string page_token(const db::PageKey& key, std::string_view bound_to);
/// Nothing for an empty token. InvalidArgument/BAD_PAGE_TOKEN.
Result<std::optional<db::PageKey>> parse_page_token(std::string_view token,
                                                    std::string_view bound_to);

/// Of a list whose keys are numbers.
Result<std::optional<std::int64_t>> parse_number_token(std::string_view token,
                                                       std::string_view bound_to);

}  // namespace reeve::server
