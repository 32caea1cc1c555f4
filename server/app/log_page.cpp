#include "server/app/log_page.h"

#include <algorithm>

namespace reeve::server {

namespace {

/// One value, without wildcards.
bool is_equality(const db::Restriction& test) {
  if (test.negated) return false;
  if (test.compare == db::Compare::Equal) return true;
  const auto* text = std::get_if<std::string>(&test.value);
  return test.compare == db::Compare::Glob && text != nullptr &&
         text->find_first_of("*?") == std::string::npos;
}

}  // namespace

bool LogPage::walks(const db::Filter& filter) const {
  const auto is_served = [this](const db::AnyOf& any) {
    return any.size() == 1 && is_equality(any.front()) &&
           std::ranges::find(log_.indexed, any.front().column) != log_.indexed.end();
  };
  return !filter.all_of.empty() && std::ranges::none_of(filter.all_of, is_served);
}

LogPage::Piece LogPage::piece(db::Filter filter, std::int64_t begin, std::int64_t last,
                              std::int64_t most_rows) const {
  Piece piece{.filter = std::move(filter), .page = {.limit = size_ + 1, .descending = descending_}};
  if (after_) piece.page.after = db::PageKey{.value = std::to_string(*after_)};
  if (!walks(piece.filter)) return piece;
  if (descending_) {
    const auto end = std::min(after_.value_or(last + 1), last + 1) - most_rows;
    if (end <= begin + 1) return piece;
    piece.filter.also({{log_.number, db::Compare::AtLeast, end}});
    piece.end = end;
  } else {
    const auto end = std::max(after_.value_or(begin), begin) + most_rows;
    if (end >= last) return piece;
    piece.filter.also({{log_.number, db::Compare::AtMost, end}});
    piece.end = end;
  }
  return piece;
}

}  // namespace reeve::server
