#include "db/store.h"

#include <atomic>
#include <thread>

#include "db/repo/host_repo.h"
#include "tests/db/db_fixture.h"
#include "tests/support/temp_dir.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

TEST_CASE("a new file becomes an empty migrated database", "[db]") {
  TempDir dir;
  auto store = must(Store::open({.path = dir / "reeve.db"}));
  CHECK(store->schema().before == 0);
  CHECK(store->schema().after == static_cast<int>(embedded_migrations().size()));
  CHECK_FALSE(store->damage());
  must(store->check());
  for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
    CHECK(entry.path().string().find(".before-") == std::string::npos);
}

TEST_CASE("two processes cannot have one database", "[db]") {
  TempDir dir;
  auto store = must(Store::open({.path = dir / "reeve.db"}));
  const auto second = Store::open({.path = dir / "reeve.db"});
  REQUIRE(reason_of(second) == "DB_IN_USE");
  CHECK(!second.error().remedy().empty());
  store.reset();
  must(Store::open({.path = dir / "reeve.db"}));
}

TEST_CASE("many threads read while one writes, each a consistent snapshot", "[db]") {
  TempDir dir;
  auto store = must(Store::open({.path = dir / "reeve.db", .readers = 2}));
  auto writer = store->take_writer_connection();
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0}, torn{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      while (!stop) {
        const auto seen = store->readers().read([](ReadTransaction& tx) -> Result<bool> {
          const auto first = TRY(tx.integer("SELECT count(*) FROM host")).value_or(-1);
          const auto again =
              TRY(tx.integer("SELECT value FROM meta WHERE key = 'revision'")).value_or(-2);
          return first == again;
        });
        if (!seen.ok() || !seen.value()) ++torn;
        ++reads;
      }
    });
  for (int i = 0; i < 60; ++i) {
    auto tx = must(writer->begin());
    must(HostRepo(tx).insert(host_row("h" + std::to_string(i), "n" + std::to_string(i)), by("a")));
    must(tx.commit());
  }
  while (reads < 50) std::this_thread::yield();
  stop = true;
  for (auto& thread : threads) thread.join();
  CHECK(torn == 0);
}

TEST_CASE("a read hands back the error of its work", "[db]") {
  TempDir dir;
  auto store = must(Store::open({.path = dir / "reeve.db"}));
  const auto missing =
      store->readers().read([](ReadTransaction& tx) { return HostReader(tx).get("nobody"); });
  CHECK(reason_of(missing) == "HOST_NOT_FOUND");
}

}  // namespace
}  // namespace reeve::db
