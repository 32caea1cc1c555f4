#include "db/repo/audit_repo.h"
#include "db/repo/feed_repo.h"
#include "db/repo/list_query.h"
#include "db/repo/lock_repo.h"
#include "db/repo/request_repo.h"
#include "db/repo/token_repo.h"
#include "tests/db/db_fixture.h"

// Whatever the repositories ask must find its rows through an index: each test runs the queries and
// then asks SQLite how it ran every statement that the connection has prepared.

namespace reeve::db {
namespace {

using namespace reeve::test;

/// Steps of the plans of all SELECTs prepared so far that walk a whole table without an index, or
/// sort. Along its primary key, which is `seq`, the audit log is walked as by an index.
std::vector<std::string> slow_steps(Database& database) {
  std::vector<std::string> out;
  for (const auto& sql : database.cached_sql()) {
    if (sql.rfind("SELECT", 0) != 0) continue;
    auto tx = must(database.begin_read());
    auto plan = must(tx.query("EXPLAIN QUERY PLAN " + sql));
    while (must(plan.step())) {
      const auto step = plan.text(3);
      const bool scans = step.rfind("SCAN", 0) == 0 && step.find("INDEX") == std::string::npos &&
                         sql.find("FROM audit") == std::string::npos;
      const bool sorts = step.find("TEMP B-TREE") != std::string::npos;
      if (scans || sorts) out.push_back(step + " <- " + sql);
    }
  }
  return out;
}
using None = std::vector<std::string>;

template <class Repo, class Order>
void list_all(ReadTransaction& tx, const std::vector<Filter>& filters,
              const std::vector<Order>& orders) {
  for (const auto& filter : filters)
    for (const auto order : orders)
      for (const bool descending : {false, true})
        for (const auto& after : {std::optional<PageKey>{}, std::optional<PageKey>{{"1", "u"}}})
          must(Repo(tx).list(filter, order, {.after = after, .descending = descending}));
}

void list_hypervisors(ReadTransaction& tx, const std::vector<Filter>& filters) {
  for (const auto& filter : filters)
    for (const bool descending : {false, true})
      for (const auto& after : {std::optional<PageKey>{}, std::optional<PageKey>{{"1", "u"}}})
        must(HypervisorReader(tx).list(filter, {.after = after, .descending = descending}));
}
const std::vector kOrders{ObjectOrder::Name, ObjectOrder::CreateTime, ObjectOrder::UpdateTime};

TEST_CASE("every list walks an index in its order", "[db]") {
  MemoryDb memory;
  {
    auto tx = must(memory.database->begin_read());
    list_all<VmReader>(tx, std::vector<Filter>{{}, {Column::State, "s"}}, kOrders);
    list_all<HostReader>(tx, std::vector<Filter>{{}}, kOrders);
    list_all<ImageReader>(tx, std::vector<Filter>{{}}, kOrders);
    list_hypervisors(tx, {{}});
  }
  CHECK(slow_steps(*memory.database) == None{});
}

TEST_CASE("lists by host, state, kind and name beginning use their index", "[db]") {
  MemoryDb memory;
  {
    auto tx = must(memory.database->begin_read());
    list_all<VmReader>(tx,
                       std::vector<Filter>{{Column::HostUid, "h"},
                                           {Column::HypervisorUid, "y"},
                                           {Column::State, "s"},
                                           like(Column::Name, "web*")},
                       std::vector{ObjectOrder::Name});
    list_all<HostReader>(tx, std::vector<Filter>{{Column::State, "s"}, like(Column::Name, "a*")},
                         std::vector{ObjectOrder::Name});
    list_hypervisors(tx, {{Column::HostUid, "h"}, {Column::State, "s"}});
    list_all<ImageReader>(
        tx, std::vector<Filter>{{Column::HostUid, "h"}, {Column::Kind, "k"}, {Column::State, "s"}},
        std::vector{ObjectOrder::Name});
    must(VmReader(tx).host_loads());
    must(VmReader(tx).count_on("h"));
    must(VmReader(tx).users_of_image("i", 10));
    CHECK(reason_of(VmReader(tx).get_by_mac("m")) == "VM_NOT_FOUND");
  }
  CHECK(slow_steps(*memory.database) == None{});
}

TEST_CASE("what no index serves is tested on the walk in the list's order", "[db]") {
  MemoryDb memory;
  {
    auto tx = must(memory.database->begin_read());
    const Restriction running{.column = Column::State, .value = "running"};
    const Restriction on_host{.column = Column::HostUid, .value = "h"};
    const Restriction recent{Column::CreateTime, Compare::More, time_value(at(0))};
    Restriction not_running = running;
    not_running.negated = true;
    const std::vector<Filter> filters{Filter().also({running, on_host}),
                                      Filter().also({running, running}),
                                      Filter().also({not_running}), Filter().also({recent}),
                                      Filter().also({recent}).also({running, on_host})};
    list_all<VmReader>(tx, filters, kOrders);
    list_all<HostReader>(
        tx, std::vector<Filter>{Filter().also({running, running}), Filter().also({recent})},
        kOrders);
    list_all<ImageReader>(tx, filters, kOrders);
    list_hypervisors(tx, {Filter().also({running, on_host})});
    const Page newest{.descending = true};
    must(JobReader(tx).list(Filter().also({running, on_host}), newest));
    must(JobReader(tx).list(Filter().also({recent}), newest));
    const Restriction since{Column::Time, Compare::More, time_value(at(0))};
    must(FeedReader(tx).list(0, Filter().also({since}), newest));
    must(FeedReader(tx).list(0, {Column::ShownKind, "host"}, newest));
    must(AuditReader(tx).list(Filter().also({since}), newest));
    must(row_passes(tx, ObjectKind::Vm, "v", {running, on_host}));
  }
  CHECK(slow_steps(*memory.database) == None{});
}

TEST_CASE("jobs, journal, locks, requests and tokens are found by index", "[db]") {
  MemoryDb memory;
  {
    auto tx = memory.begin();
    JobRepo jobs(tx);
    const Filter active(Column::FinishTime, {});
    for (const Filter& filter : std::vector<Filter>{{},
                                                    active,
                                                    {Column::State, "s"},
                                                    {Column::TargetUid, "v"},
                                                    {Column::ParentUid, "j"},
                                                    {Column::HostUid, "h"},
                                                    Filter(active).also(Column::TargetUid, "v")})
      for (const bool descending : {false, true})
        for (const auto& after : {std::optional<PageKey>{}, std::optional<PageKey>{{"1", "u"}}})
          must(jobs.list(filter, {.after = after, .descending = descending}));
    must(jobs.active());
    CHECK(reason_of(jobs.get("j")) == "JOB_NOT_FOUND");
    must(jobs.steps("j"));
    must(jobs.remove_finished_before(at(0), 10));
    must(LockRepo(tx).of_job("j"));
    must(LockRepo(tx).find("r"));
    must(RequestRepo(tx).find("c", "r", "m", "b", at(0)));
    must(TokenRepo(tx).enroll_tokens());
    must(TokenRepo(tx).api_tokens());
  }
  CHECK(slow_steps(*memory.database) == None{});
}

TEST_CASE("feed, history and audit are read in order by index", "[db]") {
  MemoryDb memory;
  {
    auto tx = memory.begin();
    must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
    FeedRepo feed(tx);
    must(feed.versions(0, {}, 10));
    must(feed.versions(0, {ObjectKind::Vm}, 10));
    must(feed.versions(0, {ObjectKind::Vm, ObjectKind::Job}, 10));
    must(feed.history("h1", 0, 10));
    for (const bool descending : {false, true}) {
      const Page page{.after = PageKey{"1"}, .descending = descending};
      must(feed.list(0, {}, page));
      must(feed.list(0, {Column::Uid, "h1"}, page));
      must(feed.list(0, {Column::Kind, "vm"}, page));
      must(feed.list(0, like(Column::Actor, "tokens/*"), page));
    }
    must(feed.as_of("h1", 1));
    must(feed.list_as_of(ObjectKind::Host, 1, "", 10));
    must(feed.compact(1, 0, 10));
    must(feed.revision_before(at(9)));
    AuditReader audit(tx);
    for (const bool descending : {false, true})
      for (const auto& after : {std::optional<PageKey>{}, std::optional(PageKey{"5"})})
        for (const Filter& filter : std::vector<Filter>{
                 {}, {Column::Actor, "a"}, {Column::Resource, "r"}, {Column::Reason, "R"}})
          must(audit.list(filter, {.after = after, .descending = descending}));
  }
  CHECK(slow_steps(*memory.database) == None{});
}

}  // namespace
}  // namespace reeve::db
