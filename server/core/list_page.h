// server/core/list_page.h - one page of a List method: what the request asks for, and reading rows
// until enough of them match.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "db/model/object.h"
#include "db/repo/feed_repo.h"
#include "server/app/inventory.h"
#include "server/app/list_filter.h"
#include "server/app/list_request.h"
#include "server/core/core_parts.h"

namespace reeve::server {

/// What a list can be asked for.
struct ListShape {
  std::span<const FilterKey> keys{};
  Labels labels = Labels::Yes;
  std::vector<std::string> orders{"display_name", "create_time", "update_time"};
  std::string usual_order{"display_name"};  ///< when the request names none
};

/// What a List request asks for.
struct PageQuery {
  ListFilter filter{};
  db::ObjectOrder order = db::ObjectOrder::Name;
  int size = 50;
  db::Page first{};
  std::string bound_to{};  ///< filter and order, for the token
};

/// InvalidArgument/ BAD_FILTER, BAD_FIELD, BAD_PAGE_TOKEN.
Result<PageQuery> query_of(const ServiceParts& parts, const auto& request, const ListShape& shape) {
  PageQuery query;
  query.filter =
      TRY(ListFilter::read(request.filter(), shape.keys, shape.labels, *parts.core.readers));
  const auto order = TRY(parse_order(
      request.order_by().empty() ? shape.usual_order : request.order_by(), shape.orders));
  if (order.key == "create_time") query.order = db::ObjectOrder::CreateTime;
  if (order.key == "update_time") query.order = db::ObjectOrder::UpdateTime;
  query.size = TRY(page_size_of(request.page_size()));
  query.bound_to = request.filter() + "\n" + request.order_by();
  if constexpr (requires { request.parent(); }) query.bound_to += "\n" + request.parent();
  query.first.after = TRY(parse_page_token(request.page_token(), query.bound_to));
  query.first.descending = order.descending;
  return query;
}

/// Reads with `read(page)` and calls `take(row)`, which says whether the row matches (and keeps
/// it). Returns the token of the next page; empty on the last.
template <class Read, class Take>
Result<std::string> collect_page(const PageQuery& query, Read read, Take take) {
  db::Page page = query.first;
  page.limit = query.size + 1;
  int taken = 0;
  int looked_at = 0;
  std::optional<db::PageKey> last;
  while (true) {
    const auto rows = TRY(read(page));
    for (const auto& row : rows) {
      if (taken == query.size) return page_token(*last, query.bound_to);
      last = db::key_of(row, query.order);
      if (TRY(take(row))) ++taken;
    }
    looked_at += static_cast<int>(rows.size());
    if (static_cast<int>(rows.size()) < page.limit) return std::string();
    page.after = last;
    if (looked_at >= kMostRowsPerPage) return page_token(*last, query.bound_to);
  }
}

/// The whole List method in one snapshot. `add(inventory, row)` adds what the row shows
/// to the response and says whether it matches; what does not is not kept.
template <class Reader, class Response, class Add>
Status list_page(const ServiceParts& parts, const PageQuery& query, Response& response, Add add) {
  return parts.core.readers->read([&](db::ReadTransaction& tx) -> Status {
    Inventory inventory(tx, parts.now());
    Reader reader(tx);
    response.set_revision(TRY(db::FeedReader(tx).revision()));
    const auto read = [&](const db::Page& page) {
      if constexpr (requires { reader.list(query.filter.rows, query.order, page); })
        return reader.list(query.filter.rows, query.order, page);
      else
        return reader.list(query.filter.rows, page);
    };
    const auto take = [&](const auto& row) -> Result<bool> { return add(inventory, row); };
    response.set_next_page_token(TRY(collect_page(query, read, take)));
    return {};
  });
}

}  // namespace reeve::server
