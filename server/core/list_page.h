// server/core/list_page.h - one page of a List method: what the request asks for, and reading rows
// until enough of them match.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "db/model/object.h"
#include "db/repo/feed_repo.h"
#include "server/app/inventory.h"
#include "server/app/list_request.h"
#include "server/core/core_parts.h"

namespace reeve::server {

/// Rows looked at for one page at most; a filter that matches little then gives a short page with a
/// token.
inline constexpr int kMostRowsPerPage = 20'000;

/// A key of a filter, and what a value of it asks for.
template <class Filter>
struct FilterKey {
  std::string_view name{};
  Status (*set)(Filter& filter, const std::string& value) = nullptr;
  /// In the place of `set` where values are names of resources.
  Status (*find)(Filter& filter, const std::string& value, db::ReadTransaction& tx) = nullptr;
};

struct ListOrders {
  std::vector<std::string> known{"display_name", "create_time", "update_time"};
  std::string usual{"display_name"};  ///< when the request names none
};

/// What a List request asks for.
template <class Filter>
struct PageQuery {
  Filter filter{};
  std::vector<FilterTerm> labels{};
  db::ObjectOrder order = db::ObjectOrder::Name;
  int size = 50;
  db::Page first{};
  std::string bound_to{};  ///< filter and order, for the token

  bool matches(const auto& resource) const {
    for (const auto& label : labels) {
      const auto it = resource.labels().find(label.key);
      if (it == resource.labels().end() || it->second != label.value) return false;
    }
    return true;
  }
};

/// Nouns that have them are also filtered by display_name and label.KEY, and begin at a parent.
/// InvalidArgument/ BAD_FILTER, BAD_FIELD, BAD_PAGE_TOKEN.
template <class Filter, std::size_t kCount>
Result<PageQuery<Filter>> query_of(const ServiceParts& parts, const auto& request,
                                   const std::array<FilterKey<Filter>, kCount>& keys,
                                   const ListOrders& orders = {}) {
  constexpr bool kNamed = requires(Filter filter) {
    filter.name_glob;
  };
  PageQuery<Filter> query;
  for (auto& term : TRY(parse_filter(request.filter()))) {
    const auto key = std::ranges::find(keys, term.key, &FilterKey<Filter>::name);
    if (key != keys.end()) {
      TRY(key->set ? key->set(query.filter, term.value)
                   : parts.core.readers->read([&](db::ReadTransaction& tx) {
                       return key->find(query.filter, term.value, tx);
                     }));
      continue;
    }
    if constexpr (kNamed) {
      if (term.key == "display_name") {
        query.filter.name_glob = term.value;
        continue;
      }
      if (term.key.starts_with("label.")) {
        query.labels.push_back({term.key.substr(6), term.value});
        continue;
      }
    }
    std::vector<std::string> known;
    for (const auto& one : keys) known.emplace_back(one.name);
    if (kNamed) known.insert(known.end(), {"display_name", "label.KEY"});
    return bad_filter("has an unknown key '" + term.key.substr(0, 64) + "'; known are " +
                      join(known, ", "));
  }
  const auto order = TRY(
      parse_order(request.order_by().empty() ? orders.usual : request.order_by(), orders.known));
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
template <class Filter, class Read, class Take>
Result<std::string> collect_page(const PageQuery<Filter>& query, Read read, Take take) {
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
template <class Reader, class Response, class Filter, class Add>
Status list_page(const ServiceParts& parts, const PageQuery<Filter>& query, Response& response,
                 Add add) {
  return parts.core.readers->read([&](db::ReadTransaction& tx) -> Status {
    Inventory inventory(tx, parts.now());
    Reader reader(tx);
    response.set_revision(TRY(db::FeedReader(tx).revision()));
    const auto read = [&](const db::Page& page) {
      if constexpr (requires { reader.list(query.filter, query.order, page); })
        return reader.list(query.filter, query.order, page);
      else
        return reader.list(query.filter, page);
    };
    const auto take = [&](const auto& row) -> Result<bool> { return add(inventory, row); };
    response.set_next_page_token(TRY(collect_page(query, read, take)));
    return {};
  });
}

}  // namespace reeve::server
