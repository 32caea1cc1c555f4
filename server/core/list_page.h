// server/core/list_page.h - one page of a List method: reads rows until enough of them match.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "db/model/object.h"
#include "server/app/list_request.h"

namespace reeve::server {

/// Rows looked at for one page at most; a filter that matches little then gives a short page with a
/// token.
inline constexpr int kMostRowsPerPage = 20'000;

struct PageRequest {
  int size = 50;
  db::Page first{};
  std::string bound_to{};  ///< filter and order, for the token

  static Result<PageRequest> of(const auto& request, bool descending) {
    PageRequest page;
    page.size = TRY(page_size_of(request.page_size()));
    page.bound_to = request.filter() + "\n" + request.order_by();
    page.first.after = TRY(parse_page_token(request.page_token(), page.bound_to));
    page.first.descending = descending;
    return page;
  }
};

/// `read(page)` gives rows, `key_of(row)` a row's key, `take(row)` whether it matches (and keeps
/// it). Returns the token of the next page; empty on the last.
template <class Read, class KeyOf, class Take>
Result<std::string> collect_page(const PageRequest& request, Read read, KeyOf key_of, Take take) {
  db::Page page = request.first;
  page.limit = request.size + 1;
  int taken = 0;
  int looked_at = 0;
  std::optional<db::PageKey> last;
  while (true) {
    const auto rows = TRY(read(page));
    for (const auto& row : rows) {
      if (taken == request.size) return page_token(*last, request.bound_to);
      last = key_of(row);
      if (TRY(take(row))) ++taken;
    }
    looked_at += static_cast<int>(rows.size());
    if (static_cast<int>(rows.size()) < page.limit) return std::string();
    page.after = last;
    if (looked_at >= kMostRowsPerPage) return page_token(*last, request.bound_to);
  }
}

}  // namespace reeve::server
