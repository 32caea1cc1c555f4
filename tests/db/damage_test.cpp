#include "base/random.h"
#include "db/repo/feed_repo.h"
#include "db/store.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

/// A closed database with enough rows that most pages hold data.
FaultDisk::Image filled_image() {
  MemoryDb memory;
  {
    auto tx = memory.begin();
    for (int i = 0; i < 300; ++i) {
      auto host = host_row("h" + std::to_string(i), "name" + std::to_string(i));
      host.spec = std::string(400, static_cast<char>('a' + i % 26));
      must(HostRepo(tx).insert(host, by("a")));
    }
    must(tx.commit());
  }
  memory.database.reset();
  return memory.disk.image();
}

/// Everything a reader may do; errors are fine, crashes and hangs are not.
void read_everything(Readers& readers) {
  (void)readers.read([](ReadTransaction& tx) {
    return HostReader(tx).list({}, ObjectOrder::Name, {.limit = 1000});
  });
  (void)readers.read([](ReadTransaction& tx) { return FeedReader(tx).versions(0, {}, 1000); });
  (void)readers.read([](ReadTransaction& tx) { return HostReader(tx).get_by_name("name7"); });
}

TEST_CASE("flipped bytes anywhere never crash a reader, and broken structure is reported", "[db]") {
  const auto image = filled_image();
  FaultDisk measure;
  measure.load(image);
  const auto size = static_cast<std::uint64_t>(measure.size(kDatabasePath));
  SeededRandom random(11);
  int found = 0;
  for (int round = 0; round < 60; ++round) {
    FaultDisk disk;
    disk.load(image);
    for (int i = 0; i < 8; ++i)
      disk.corrupt(kDatabasePath, static_cast<std::int64_t>(random.below(size - 32)),
                   std::string(32, '\xa5'));
    auto store = Store::open({.path = kDatabasePath, .vfs = disk.vfs()});
    if (!store.ok()) {
      CHECK((reason_of(store) == "DB_CORRUPT" || reason_of(store) == "DB_FOREIGN" ||
             reason_of(store) == "DB_NEWER_SCHEMA" || reason_of(store) == "DB_ERROR" ||
             reason_of(store) == "DB_CANNOT_OPEN"));
      ++found;
      continue;
    }
    if (store.value()->damage()) {
      CHECK(store.value()->damage()->code() == Code::DataLoss);
      ++found;
    }
    read_everything(store.value()->readers());
  }
  // SQLite has no checksums: what hits the inside of a value alone passes its check.
  CHECK(found > 30);
}

TEST_CASE("a truncated database is found damaged", "[db]") {
  FaultDisk original;
  original.load(filled_image());
  const auto whole = original.bytes(kDatabasePath);
  for (const std::size_t keep :
       {whole.size() - 4096, whole.size() / 2, std::size_t{4096}, std::size_t{700}}) {
    FaultDisk disk;
    disk.put(kDatabasePath, std::string_view(whole).substr(0, keep));
    const auto store = Store::open({.path = kDatabasePath, .vfs = disk.vfs()});
    const bool noticed = !store.ok() || store.value()->damage().has_value();
    CHECK(noticed);
  }
}

TEST_CASE("a damaged database still answers what is whole", "[db]") {
  const auto image = filled_image();
  FaultDisk disk;
  disk.load(image);
  // The last page belongs to one of the tables; the root pages come first.
  disk.corrupt(kDatabasePath, disk.size(kDatabasePath) - 4096, std::string(4096, '\xff'));
  auto store = must(Store::open({.path = kDatabasePath, .vfs = disk.vfs()}));
  REQUIRE(store->damage());
  CHECK(store->damage()->reason() == "DB_CORRUPT");
  CHECK(!store->damage()->remedy().empty());
  const auto host =
      store->readers().read([](ReadTransaction& tx) { return HostReader(tx).get("h1"); });
  CHECK(reason_of(host) == "OK");
  CHECK(reason_of(store->check()) == "DB_CORRUPT");
}

}  // namespace
}  // namespace reeve::db
