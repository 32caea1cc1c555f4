#include "db/repo/feed_repo.h"

#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;
using Revisions = std::vector<std::int64_t>;

Revisions revisions(const std::vector<Version>& versions) {
  Revisions out;
  for (const auto& version : versions) out.push_back(version.revision);
  return out;
}

Version version(ObjectKind kind, const std::string& uid, std::int64_t seconds,
                bool deleted = false) {
  Version v;
  v.kind = kind;
  v.uid = uid;
  v.name = "name of " + uid;
  v.time = at(seconds);
  v.deleted = deleted;
  v.spec = "spec at " + std::to_string(seconds);
  return v;
}

TEST_CASE("every change of an object becomes a version with its author", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  HostRepo hosts(tx);
  auto host = must(hosts.insert(host_row("h1", "alpha"), by("users/eve", 1, "job-1")));
  host.name = "beta";
  host = must(hosts.update(host, by("users/bob", 2)));
  host.state = "lost";
  host.status = "silent";
  must(hosts.update_status(host, by("agents/h1", 3)));
  must(hosts.remove("h1", "", by("users/bob", 4)));

  const auto versions = must(FeedReader(tx).versions(0, {}, 10));
  REQUIRE(revisions(versions) == Revisions{1, 2, 3, 4});
  CHECK(versions[0].kind == ObjectKind::Host);
  CHECK(versions[0].name == "alpha");
  CHECK(versions[0].actor == "users/eve");
  CHECK(versions[0].job_uid == "job-1");
  CHECK(versions[0].status == host_row("h1", "").status);
  CHECK(versions[1].name == "beta");
  CHECK(versions[1].job_uid.empty());
  CHECK(versions[2].state == "lost");
  CHECK(versions[2].status == "silent");
  CHECK(versions[2].etag == versions[1].etag);
  CHECK(versions[2].spec == "spec of h1");
  CHECK(versions[3].deleted);
  CHECK(versions[3].create_time == at(1));
}

TEST_CASE("a failed change gives its revision to the next one", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
  const auto failed = tx.nested([](Transaction& t) -> Status {
    TRY(HostRepo(t).insert(host_row("h2", "beta"), by("a")));
    TRY(HostRepo(t).insert(host_row("h3", "alpha"), by("a")));
    return {};
  });
  REQUIRE(reason_of(failed) == "DB_UNIQUE");
  CHECK(must(HostRepo(tx).insert(host_row("h4", "delta"), by("a"))).revision == 2);
}

TEST_CASE("the feed can be read from anywhere, by kind, in pieces", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  FeedRepo feed(tx);
  for (int i = 0; i < 6; ++i)
    must(feed.append(
        version(i % 2 == 0 ? ObjectKind::Vm : ObjectKind::Job, "u" + std::to_string(i), i)));
  CHECK(revisions(must(feed.versions(0, {}, 2))) == Revisions{1, 2});
  CHECK(revisions(must(feed.versions(2, {}, 100))) == Revisions{3, 4, 5, 6});
  CHECK(revisions(must(feed.versions(0, {ObjectKind::Vm}, 100))) == Revisions{1, 3, 5});
  CHECK(revisions(must(feed.versions(1, {ObjectKind::Job, ObjectKind::Host}, 2))) ==
        Revisions{2, 4});
  CHECK(must(feed.versions(6, {}, 100)).empty());
  CHECK(reason_of(feed.versions(7, {}, 100)) == "REVISION_UNKNOWN");
}

TEST_CASE("history and as-of show an object through time", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  FeedRepo feed(tx);
  must(feed.append(version(ObjectKind::Vm, "v1", 1)));
  must(feed.append(version(ObjectKind::Vm, "v2", 2)));
  must(feed.append(version(ObjectKind::Vm, "v1", 3)));
  must(feed.append(version(ObjectKind::Vm, "v1", 4, true)));
  CHECK(revisions(must(feed.history("v1", 0, 10))) == Revisions{4, 3, 1});
  CHECK(revisions(must(feed.history("v1", 4, 1))) == Revisions{3});
  const Filter of_v1(Column::Uid, "v1");
  CHECK(revisions(must(feed.list(0, of_v1, {}))) == Revisions{1, 3, 4});
  CHECK(revisions(must(feed.list(0, of_v1, {.descending = true}))) == Revisions{4, 3, 1});
  CHECK(revisions(must(feed.list(1, of_v1, {.limit = 1}))) == Revisions{3});
  CHECK(revisions(must(feed.list(1, of_v1, {.after = PageKey{"4"}, .descending = true}))) ==
        Revisions{3});
  CHECK(must(feed.list(4, of_v1, {})).empty());
  CHECK(reason_of(feed.list(5, of_v1, {})) == "REVISION_UNKNOWN");
  CHECK(must(feed.as_of("v1", 2)).spec == "spec at 1");
  CHECK(must(feed.as_of("v1", 3)).spec == "spec at 3");
  CHECK(reason_of(feed.as_of("v1", 4)) == "NO_VERSION");
  CHECK(reason_of(feed.as_of("v2", 1)) == "NO_VERSION");
  CHECK(reason_of(feed.as_of("v1", 5)) == "REVISION_UNKNOWN");
  CHECK(revisions(must(feed.list_as_of(ObjectKind::Vm, 1, "", 10))) == Revisions{1});
  CHECK(revisions(must(feed.list_as_of(ObjectKind::Vm, 3, "", 10))) == Revisions{3, 2});
  CHECK(revisions(must(feed.list_as_of(ObjectKind::Vm, 3, "v1", 10))) == Revisions{2});
  CHECK(revisions(must(feed.list_as_of(ObjectKind::Vm, 4, "", 10))) == Revisions{2});
  CHECK(must(feed.list_as_of(ObjectKind::Host, 4, "", 10)).empty());
}

TEST_CASE("compaction keeps what the floor needs and announces the gap", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  FeedRepo feed(tx);
  must(feed.append(version(ObjectKind::Vm, "old", 1)));         // 1 superseded
  must(feed.append(version(ObjectKind::Vm, "gone", 2)));        // 2 superseded
  must(feed.append(version(ObjectKind::Vm, "old", 3)));         // 3 the newest up to the floor
  must(feed.append(version(ObjectKind::Vm, "gone", 4, true)));  // 4 a tombstone
  must(feed.append(version(ObjectKind::Vm, "quiet", 5)));       // 5 never changed since
  must(feed.append(version(ObjectKind::Vm, "old", 6)));         // 6 after the floor
  const int batch = GENERATE(1, 2, 100);
  std::int64_t cursor = 0;
  do cursor = must(feed.compact(5, cursor, batch));
  while (cursor != 0);

  CHECK(must(feed.floor()) == 5);
  CHECK(revisions(must(feed.versions(5, {}, 100))) == Revisions{6});
  const auto gap = feed.versions(4, {}, 100);
  REQUIRE(reason_of(gap) == "REVISION_COMPACTED");
  CHECK(gap.error().code() == Code::OutOfRange);
  CHECK(gap.error().metadata().at("floor") == "5");
  CHECK(must(feed.as_of("old", 5)).spec == "spec at 3");
  CHECK(must(feed.as_of("quiet", 5)).spec == "spec at 5");
  CHECK(revisions(must(feed.history("old", 0, 10))) == Revisions{6, 3});
  CHECK(must(feed.history("gone", 0, 10)).empty());
  CHECK(revisions(must(feed.list(5, {Column::Uid, "old"}, {}))) == Revisions{6});
  CHECK(reason_of(feed.list(4, {Column::Uid, "old"}, {})) == "REVISION_COMPACTED");

  // The floor never moves back, nor beyond what was given out.
  must(feed.compact(2, 0, 100));
  CHECK(must(feed.floor()) == 5);
  must(feed.compact(1000, 0, 100));
  CHECK(must(feed.floor()) == 6);
  CHECK(must(feed.next_revision()) == 7);
}

TEST_CASE("a time is found as a floor", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  FeedRepo feed(tx);
  CHECK(must(feed.revision_before(at(100))) == 0);
  for (int i = 1; i <= 40; ++i) must(feed.append(version(ObjectKind::Vm, "v", i)));
  CHECK(must(feed.revision_before(at(1))) == 0);
  CHECK(must(feed.revision_before(at(18))) == 17);
  CHECK(must(feed.revision_before(at(1000))) == 40);
  std::int64_t cursor = 0;
  do cursor = must(feed.compact(20, cursor, 7));
  while (cursor != 0);
  CHECK(must(feed.revision_before(at(10))) == 20);
  CHECK(must(feed.revision_before(at(31))) == 30);
}

}  // namespace
}  // namespace reeve::db
