// server/app/log_page.h - one page of a log: rows in the order of a number, which may be very many.
//
// Where no index serves the filter, a page looks at a piece of the log only: one that finds little
// is short, or empty, and has a token all the same.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "db/model/filter.h"
#include "db/model/object.h"
#include "server/app/list_request.h"

namespace reeve::server {

class LogPage {
 public:
  /// What the log is: ordered by `number`, which requests call `order_key`; an index serves
  /// equality of `indexed` in that order.
  struct Log {
    db::Column number{};
    std::string_view order_key{};
    std::string_view usual_order{};
    std::array<db::Column, 2> indexed{};
  };
  /// What is read.
  struct Piece {
    db::Filter filter{};
    db::Page page{};
    std::optional<std::int64_t> end{};  ///< where the next piece begins; nothing after the last
  };

  /// Tokens also belong to `bound_to`. InvalidArgument/ BAD_FILTER, BAD_FIELD, BAD_PAGE_TOKEN.
  static Result<LogPage> of(const auto& request, const Log& log, std::string_view bound_to) {
    const auto order =
        TRY(parse_order(request.order_by().empty() ? log.usual_order : request.order_by(),
                        {std::string(log.order_key)}));
    LogPage page(log);
    page.descending_ = order.descending;
    page.size_ = TRY(page_size_of(request.page_size()));
    page.bound_to_.append(bound_to).append("\n").append(request.filter());
    page.bound_to_.append("\n").append(request.order_by());
    page.after_ = TRY(parse_number_token(request.page_token(), page.bound_to_));
    return page;
  }

  bool descending() const { return descending_; }
  /// The number of the last row that was looked at before.
  std::optional<std::int64_t> after() const { return after_; }

  /// Of a log with the numbers after `begin`, up to `last`.
  Piece piece(db::Filter filter, std::int64_t begin, std::int64_t last,
              std::int64_t most_rows = kMostRowsPerPage) const;

  /// Drops what the piece has too many; empty on the last page.
  template <class Row>
  std::string next_token(const Piece& piece, std::vector<Row>& rows,
                         std::int64_t Row::*number) const {
    auto last = piece.end;
    if (rows.size() > static_cast<std::size_t>(size_)) {
      rows.resize(static_cast<std::size_t>(size_));
      last = rows.back().*number;
    }
    return last ? page_token({.value = std::to_string(*last)}, bound_to_) : std::string();
  }

 private:
  explicit LogPage(const Log& log) : log_(log) {}
  bool walks(const db::Filter& filter) const;

  Log log_;
  int size_ = 50;
  bool descending_ = false;
  std::string bound_to_{};
  std::optional<std::int64_t> after_{};
};

}  // namespace reeve::server
