#include "server/app/log_page.h"

#include <catch2/catch.hpp>

#include "db/repo/audit_repo.h"
#include "reeve/v1/event_service.pb.h"
#include "tests/db/db_fixture.h"

using namespace reeve;
using namespace reeve::server;
using namespace reeve::test;

namespace {

constexpr LogPage::Log kLog{.number = db::Column::Sequence,
                            .order_key = "sequence",
                            .usual_order = "sequence desc",
                            .indexed = {db::Column::Actor, db::Column::Actor}};

/// A log of ten entries, of which 2 and 9 have a reason; read in pages of two, 3 rows a piece.
struct Log : MemoryDb {
  Log() {
    auto tx = begin();
    for (int i = 1; i <= 10; ++i) {
      db::AuditEntry entry{.time = at(i), .actor = i % 2 == 0 ? "even" : "odd"};
      if (i == 2 || i == 9) entry.reason = "STALE_ETAG";
      must(db::AuditRepo(tx).append(entry, [](auto bytes) { return std::string(bytes); }));
    }
    must(tx.commit());
  }

  /// The pages, each ended by '|'.
  std::string listed(const db::Filter& filter, const std::string& order_by) {
    auto tx = must(database->begin_read());
    v1::ListAuditEntriesRequest request;
    request.set_order_by(order_by);
    request.set_page_size(2);
    std::string pages;
    do {
      const auto page = must(LogPage::of(request, kLog, "test"));
      const auto piece = page.piece(filter, 0, must(db::AuditReader(tx).last_seq()), 3);
      auto rows = must(db::AuditReader(tx).list(piece.filter, piece.page));
      request.set_page_token(page.next_token(piece, rows, &db::AuditEntry::seq));
      for (const auto& row : rows) pages += std::to_string(row.seq) + " ";
      pages += "|";
    } while (!request.page_token().empty());
    return pages;
  }
};

}  // namespace

TEST_CASE("a log is looked through piece by piece where no index helps", "[app]") {
  Log log;
  const db::Filter refused(db::Column::Reason, "STALE_ETAG");
  CHECK(log.listed(refused, "sequence") == "2 ||9 ||");
  CHECK(log.listed(refused, "sequence desc") == "9 ||2 ||");
  const auto any = db::Filter().also({{.column = db::Column::Reason, .negated = true}});
  CHECK(log.listed(any, "sequence") == "1 2 |3 4 |5 6 |7 8 |9 10 |");
  CHECK(log.listed(any, "") == "10 9 |8 7 |6 5 |4 3 |2 1 |");
}

TEST_CASE("a log without filter, or with one that an index serves, has full pages", "[app]") {
  Log log;
  CHECK(log.listed({}, "sequence") == "1 2 |3 4 |5 6 |7 8 |9 10 |");
  CHECK(log.listed({db::Column::Actor, "even"}, "sequence") == "2 4 |6 8 |10 |");
  CHECK(log.listed(like(db::Column::Actor, "even"), "") == "10 8 |6 4 |2 |");
  CHECK(log.listed({db::Column::Actor, "nobody"}, "") == "|");
  CHECK(log.listed(like(db::Column::Actor, "e*"), "sequence") == "2 |4 6 |8 |10 |");
}

TEST_CASE("numbers in page tokens are numbers of the log", "[app]") {
  for (const auto* bad : {"", "x", "1x", "-1", "9223372036854775807", "99999999999999999999"})
    CHECK(reason_of(parse_number_token(page_token({.value = bad}, "b"), "b")) == "BAD_PAGE_TOKEN");
  CHECK(must(parse_number_token(page_token({.value = "17"}, "b"), "b")) == 17);
  CHECK_FALSE(must(parse_number_token("", "b")));
}
