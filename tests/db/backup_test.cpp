#include "db/sqlite/backup.h"

#include <fstream>

#include "base/file.h"
#include "db/repo/feed_repo.h"
#include "db/repo/meta_repo.h"
#include "db/sqlite/lock.h"
#include "db/store.h"
#include "tests/db/db_fixture.h"
#include "tests/support/temp_dir.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

void add_host(Database& database, const std::string& uid) {
  auto tx = must(database.begin());
  must(HostRepo(tx).insert(host_row(uid, uid), by("a")));
  must(MetaRepo(tx).next_epoch());
  must(tx.commit());
}

std::vector<std::string> hosts_in(const std::filesystem::path& path) {
  auto database = must(Database::open(path, {.access = Access::Write}));
  auto tx = must(database->begin_read());
  std::vector<std::string> out;
  for (const auto& host : must(HostReader(tx).list({}, ObjectOrder::Name, {})))
    out.push_back(host.name);
  return out;
}
using Hosts = std::vector<std::string>;

std::vector<std::string> files_in(const std::filesystem::path& dir) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

/// A live database with one host.
struct Live {
  TempDir dir;
  std::filesystem::path path = dir / "reeve.db";
  std::unique_ptr<Database> database;

  Live() {
    database = must(Database::open(path));
    must(migrate(*database, embedded_migrations()));
    add_host(*database, "first");
  }
};

TEST_CASE("a backup is taken while the database is in use, as one verified file", "[db]") {
  Live live;
  auto open = must(live.database->begin());  // a writer in the middle of something
  must(HostRepo(open).insert(host_row("half", "half"), by("a")));
  const auto facts = must(backup_to_file(live.path, live.dir / "copy"));
  CHECK(facts.revision == 1);
  CHECK(facts.schema == static_cast<int>(embedded_migrations().size()));
  CHECK(must(verify_backup(live.dir / "copy")).revision == 1);
  CHECK(hosts_in(live.dir / "copy") == Hosts{"first"});
  CHECK(reason_of(backup_to_file(live.path, live.dir / "copy")) == "FILE_EXISTS");
}

TEST_CASE("a failed backup leaves nothing behind", "[db]") {
  Live live;
  CHECK_FALSE(backup_to_file(live.path, live.dir / "no" / "folder").ok());
  CHECK_FALSE(backup_to_file(live.dir / "absent.db", live.dir / "copy").ok());
  for (const auto& name : files_in(live.dir.path())) CHECK(name.find("copy") == std::string::npos);
}

TEST_CASE("a restore brings the old content back and keeps what it replaced", "[db]") {
  Live live;
  must(backup_to_file(live.path, live.dir / "copy"));
  add_host(*live.database, "second");
  add_host(*live.database, "third");
  live.database.reset();

  const auto restored = must(restore_from_file(live.dir / "copy", live.path));
  CHECK(hosts_in(live.path) == Hosts{"first"});
  CHECK(hosts_in(restored.kept) == Hosts{"first", "second", "third"});
  auto store = must(Store::open({.path = live.path}));
  CHECK_FALSE(store->damage());

  // The lost time line reached revision 3 and epoch 3; nothing of it may be mistaken for the new
  // one.
  const auto lost =
      store->readers().read([](ReadTransaction& tx) { return FeedReader(tx).versions(3, {}, 10); });
  CHECK(reason_of(lost) == "REVISION_COMPACTED");
  auto writer = store->take_writer_connection();
  auto tx = must(writer->begin());
  CHECK(must(HostRepo(tx).insert(host_row("new", "new"), by("a"))).revision == 5);
  CHECK(must(MetaRepo(tx).next_epoch()) == 4);
}

TEST_CASE("the WAL of a killed server does not come back into the restored database", "[db]") {
  Live live;
  must(backup_to_file(live.path, live.dir / "copy"));
  add_host(*live.database, "second");
  // What a kill leaves: the file as last checkpointed, and a WAL with the rest.
  const auto main = must(read_file(live.path));
  const auto wal = must(read_file(live.path.string() + "-wal"));
  live.database.reset();
  must(write_file_durably(live.path, main));
  must(write_file_durably(live.path.string() + "-wal", wal));

  const auto restored = must(restore_from_file(live.dir / "copy", live.path));
  CHECK(hosts_in(live.path) == Hosts{"first"});
  CHECK(hosts_in(restored.kept) == Hosts{"first", "second"});
}

TEST_CASE("a restore over a destroyed database skips more revisions than it can have given out",
          "[db]") {
  Live live;
  must(backup_to_file(live.path, live.dir / "copy"));
  live.database.reset();
  auto bytes = must(read_file(live.path));
  bytes.replace(0, 4096, 4096, 'x');
  must(write_file_durably(live.path, bytes));

  const auto restored = must(restore_from_file(live.dir / "copy", live.path));
  CHECK(must(read_file(restored.kept)) == bytes);
  CHECK(hosts_in(live.path) == Hosts{"first"});
  auto store = must(Store::open({.path = live.path}));
  const auto revision =
      store->readers().read([](ReadTransaction& tx) { return FeedReader(tx).revision(); });
  CHECK(must(revision) > 1'000'000);
}

TEST_CASE("a restore works where no database was", "[db]") {
  Live live;
  must(backup_to_file(live.path, live.dir / "copy"));
  const auto restored = must(restore_from_file(live.dir / "copy", live.dir / "fresh.db"));
  CHECK(restored.kept.empty());
  CHECK(hosts_in(live.dir / "fresh.db") == Hosts{"first"});
}

TEST_CASE("a restore refuses what is not a whole backup of ours and touches nothing", "[db]") {
  Live live;
  must(backup_to_file(live.path, live.dir / "copy"));
  const auto bytes = must(read_file(live.dir / "copy"));
  live.database.reset();
  const auto bad = live.dir / "bad";
  SECTION("text") {
    must(write_file_durably(bad, "hello"));
  }
  SECTION("empty") {
    must(write_file_durably(bad, ""));
  }
  SECTION("cut short") {
    must(write_file_durably(bad, bytes.substr(0, bytes.size() - 5000)));
  }
  SECTION("flipped page") {
    auto flipped = bytes;
    for (std::size_t i = 8192; i < flipped.size() && i < 80000; ++i) flipped[i] = '\x5a';
    must(write_file_durably(bad, flipped));
  }
  SECTION("newer") {
    std::filesystem::copy_file(live.dir / "copy", bad);
    auto database = must(Database::open(bad));
    must(database->run_script("PRAGMA user_version = 99"));
  }
  SECTION("another program's") {
    auto database = must(Database::open(bad));
    must(database->run_script("CREATE TABLE t (a)"));
  }
  SECTION("absent") {}
  const auto before = files_in(live.dir.path());
  const auto refused = restore_from_file(bad, live.path);
  REQUIRE_FALSE(refused.ok());
  INFO(refused.error().message());
  CHECK((reason_of(refused) == "DB_CORRUPT" || reason_of(refused) == "DB_FOREIGN" ||
         reason_of(refused) == "DB_NEWER_SCHEMA" || reason_of(refused) == "DB_CANNOT_OPEN"));
  CHECK(hosts_in(live.path) == Hosts{"first"});
  for (const auto& name : files_in(live.dir.path()))
    CHECK(name.find("restoring") == std::string::npos);
}

TEST_CASE("a database put in place by hand is told to go on above what was lost", "[db]") {
  Live live;
  live.database.reset();
  const auto older = must(read_file(live.path));
  {
    auto database = must(Database::open(live.path));
    add_host(*database, "lost");
    add_host(*database, "lost too");
  }
  std::filesystem::remove(live.path);
  std::filesystem::remove(live.path.string() + "-wal");
  must(write_file_durably(live.path, older));

  const auto epoch = must(advance_past_lost(live.path));
  CHECK(hosts_in(live.path) == Hosts{"first"});
  auto database = must(Database::open(live.path));
  auto tx = must(database->begin());
  CHECK(must(MetaRepo(tx).next_epoch()) == epoch + 1);
  CHECK(epoch > 1'000'000);
  CHECK(must(FeedRepo(tx).next_revision()) > 1'000'000);
}

TEST_CASE("only a whole database that nobody uses is told to go on", "[db]") {
  Live live;
  CHECK(reason_of(advance_past_lost(live.dir / "absent")) == "FILE_NOT_FOUND");
  CHECK_FALSE(std::filesystem::exists(live.dir / "absent"));
  must(write_file_durably(live.dir / "bad", "hello"));
  CHECK_FALSE(advance_past_lost(live.dir / "bad").ok());
  CHECK(must(read_file(live.dir / "bad")) == "hello");
  const auto lock = must(lock_database(live.path));
  CHECK(reason_of(advance_past_lost(live.path)) == "DB_IN_USE");
}

TEST_CASE("a restore is refused while a server has the database", "[db]") {
  Live live;
  must(backup_to_file(live.path, live.dir / "copy"));
  const auto lock = must(lock_database(live.path));
  CHECK(reason_of(restore_from_file(live.dir / "copy", live.path)) == "DB_IN_USE");
}

}  // namespace
}  // namespace reeve::db
