#include "db/model/filter.h"

#include "db/repo/audit_repo.h"
#include "db/repo/feed_repo.h"
#include "db/repo/list_query.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;
using Names = std::vector<std::string>;

Restriction is(Column column, FilterValue value) {
  return {.column = column, .value = std::move(value)};
}
Restriction glob(Column column, const std::string& text) {
  return {column, Compare::Glob, text};
}
Restriction no(Restriction restriction) {
  restriction.negated = true;
  return restriction;
}

/// Machines a (on h1, running), b (on h1, stopped), c (nowhere, running), d (nowhere, paused), made
/// in this order, a second apart.
struct Machines : MemoryDb {
  Machines() {
    auto tx = begin();
    must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
    std::int64_t second = 0;
    for (auto [name, host, state] : {std::array{"a", "h1", "running"},
                                     {"b", "h1", "stopped"},
                                     {"c", "", "running"},
                                     {"d", "", "paused"}}) {
      auto row = vm_row(std::string("v") + name, name, host);
      row.state = state;
      must(VmRepo(tx).insert(row, by("a", second++)));
    }
    must(tx.commit());
  }
  std::string listed(const Filter& filter, ObjectOrder order = ObjectOrder::Name) {
    auto tx = must(database->begin_read());
    std::string names;
    Page page{.limit = 1};  // the filter holds over pages
    for (;;) {
      const auto rows = must(VmReader(tx).list(filter, order, page));
      if (rows.empty()) return names;
      names += rows[0].name;
      page.after = key_of(rows[0], order);
    }
  }
  std::string listed(AnyOf group) { return listed(Filter().also(std::move(group))); }
};

TEST_CASE("a filter is groups of OR, joined by AND", "[db]") {
  Machines machines;
  const auto running = is(Column::State, "running");
  const auto stopped = is(Column::State, "stopped");
  const auto on_h1 = is(Column::HostUid, "h1");
  CHECK(machines.listed({running, stopped}) == "abc");
  CHECK(machines.listed(Filter().also({running, stopped}).also({on_h1})) == "ab");
  CHECK(machines.listed({on_h1, is(Column::State, "paused")}) == "abd");
  CHECK(machines.listed(Filter().also({running, stopped}).also({on_h1, glob(Column::Name, "c*")}),
                        ObjectOrder::CreateTime) == "abc");
  CHECK(machines.listed(Filter().also({running}).also({stopped})).empty());
}

TEST_CASE("the opposite of a test is exactly that, also of what is not set", "[db]") {
  Machines machines;
  const auto created = [](Compare compare, std::int64_t second) {
    return Restriction{Column::CreateTime, compare, time_value(at(second))};
  };
  for (const auto& test :
       {is(Column::State, "running"), is(Column::HostUid, "h1"), is(Column::HostUid, "h9"),
        is(Column::HostUid, {}), glob(Column::Name, "?"), glob(Column::Name, "[a]"),
        glob(Column::Name, "a*"), glob(Column::Name, "b"), glob(Column::Name, "*"),
        glob(Column::HostUid, "h*"), created(Compare::Less, 2), created(Compare::AtMost, 2),
        created(Compare::More, 2), created(Compare::AtLeast, 2), created(Compare::Equal, 2),
        Restriction{Column::HostUid, Compare::More, "h0"}}) {
    CAPTURE(static_cast<int>(test.column), static_cast<int>(test.compare));
    auto both = machines.listed({test}) + machines.listed({no(test)});
    std::ranges::sort(both);
    CHECK(both == "abcd");
    CHECK(machines.listed({test, no(test)}) == "abcd");
    CHECK(machines.listed(Filter().also({test}).also({no(test)})).empty());
    CHECK(machines.listed({test, test}) == machines.listed({test}));
    CHECK(machines.listed({no(test), no(test)}) == machines.listed({no(test)}));
  }
  CHECK(machines.listed({no(is(Column::HostUid, "h1"))}) == "cd");
  CHECK(machines.listed({glob(Column::HostUid, "h*")}) == "ab");
  CHECK(machines.listed({no(glob(Column::HostUid, "h*"))}) == "cd");
  CHECK(machines.listed({created(Compare::More, 2)}) == "d");
  CHECK(machines.listed({created(Compare::AtMost, 1)}) == "ab");
}

TEST_CASE("values are bound: none of them is SQL, or a pattern of SQLite", "[db]") {
  Machines machines;
  for (const std::string odd : {"' OR 1=1 --", "x' OR 'a'='a", "?", "[abcd]", "\"", "a\\", ""}) {
    CAPTURE(odd);
    CHECK(machines.listed({is(Column::Name, odd)}).empty());
    CHECK(machines.listed({is(Column::State, odd), is(Column::State, odd)}).empty());
    CHECK(machines.listed({no(is(Column::Name, odd))}) == "abcd");
    if (odd != "?") CHECK(machines.listed({glob(Column::Name, odd)}).empty());
    if (odd != "?") CHECK(machines.listed({no(glob(Column::Name, odd))}) == "abcd");
  }
  CHECK(machines.listed({glob(Column::Uid, "va*")}) == "a");
  CHECK(machines.listed({glob(Column::Uid, "v?")}) == "abcd");
}

TEST_CASE("a row that is there is asked whether it passes a group", "[db]") {
  Machines machines;
  auto tx = must(machines.database->begin_read());
  const AnyOf either{is(Column::State, "paused"), is(Column::HostUid, "h1")};
  CHECK(must(row_passes(tx, ObjectKind::Vm, "va", either)));
  CHECK(must(row_passes(tx, ObjectKind::Vm, "vd", either)));
  CHECK_FALSE(must(row_passes(tx, ObjectKind::Vm, "vc", either)));
  CHECK_FALSE(must(row_passes(tx, ObjectKind::Vm, "v9", either)));
  CHECK_FALSE(must(row_passes(tx, ObjectKind::Host, "va", {is(Column::State, "running")})));
  CHECK_FALSE(row_passes(tx, ObjectKind::Host, "h1", {is(Column::TargetUid, "x")}).ok());
}

TEST_CASE("jobs are chosen by when they ended, which those that go on did not", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  JobRepo jobs(tx);
  for (int i = 1; i <= 3; ++i) {
    auto row = job_row("j" + std::to_string(i), "start_vm", "v1");
    if (i < 3) row.finish_time = at(i);
    must(jobs.insert(row, by("a", i)));
  }
  const auto listed = [&](const Restriction& test) {
    std::string uids;
    for (const auto& job : must(jobs.list(Filter().also({test}), {}))) uids += job.uid;
    return uids;
  };
  const Restriction later{Column::FinishTime, Compare::More, time_value(at(1))};
  const Restriction at_all{.column = Column::FinishTime, .negated = true};
  CHECK(listed(later) == "j2");
  CHECK(listed(no(later)) == "j1j3");
  CHECK(listed(at_all) == "j1j2");
  CHECK(listed(is(Column::FinishTime, {})) == "j3");
}

TEST_CASE("versions are chosen by what their events show", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  FeedRepo feed(tx);
  const auto append = [&](ObjectKind kind, const std::string& uid, const std::string& host,
                          bool deleted, const std::string& job) {
    Version v;
    v.kind = kind;
    v.uid = uid;
    v.host_uid = host;
    v.deleted = deleted;
    v.job_uid = job;
    v.time = at(100);
    must(feed.append(v));
  };
  append(ObjectKind::Host, "h1", "", false, "");          // 1
  append(ObjectKind::Hypervisor, "y1", "h1", false, "");  // 2
  append(ObjectKind::Vm, "v1", "h1", false, "j1");        // 3
  append(ObjectKind::Hypervisor, "y1", "h1", true, "");   // 4
  append(ObjectKind::Vm, "v1", "h1", true, "j2");         // 5
  const auto listed = [&](const Restriction& test) {
    std::string revisions;
    for (const auto& version : must(feed.list(0, Filter().also({test}), {})))
      revisions += std::to_string(version.revision);
    return revisions;
  };
  CHECK(listed(is(Column::ShownKind, "host")) == "124");
  CHECK(listed(no(is(Column::ShownKind, "host"))) == "35");
  CHECK(listed(is(Column::ShownUid, "h1")) == "124");
  CHECK(listed(is(Column::ShownUid, "v1")) == "35");
  CHECK(listed(is(Column::ShownGone, 1)) == "5");
  CHECK(listed(no(is(Column::ShownGone, 1))) == "1234");
  CHECK(listed(is(Column::JobUid, "j1")) == "3");
  CHECK(listed(no(is(Column::JobUid, "j1"))) == "1245");
  CHECK(listed({Column::Revision, Compare::AtLeast, 4}) == "45");
  CHECK(listed({Column::Time, Compare::Less, time_value(at(100))}).empty());
}

}  // namespace
}  // namespace reeve::db
