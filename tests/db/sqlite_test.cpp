#include <sys/stat.h>

#include "base/file.h"
#include "tests/db/db_fixture.h"
#include "tests/support/temp_dir.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

std::unique_ptr<Database> with_table(FaultDisk& disk) {
  auto database = must(Database::open("/t.db", {.vfs = disk.vfs()}));
  must(database->run_script(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT UNIQUE, bytes BLOB) STRICT"));
  return database;
}

std::int64_t count(Database& database) {
  auto tx = must(database.begin_read());
  return must(tx.integer("SELECT count(*) FROM t")).value();
}

TEST_CASE("a database is opened durable and distrustful", "[db]") {
  TempDir dir;
  auto database = must(Database::open(dir / "x.db"));
  CHECK(must(database->pragma("synchronous")) == 2);
  CHECK(must(database->pragma("foreign_keys")) == 1);
  CHECK(must(database->pragma("trusted_schema")) == 0);
  CHECK(must(database->pragma("cell_size_check")) == 1);
  auto tx = must(database->begin_read());
  CHECK(must(tx.text("PRAGMA journal_mode")) == "wal");
  CHECK(reason_of(tx.query("SELECT \"no such column\"")) == "DB_ERROR");
  struct stat info {};
  REQUIRE(::stat((dir / "x.db").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("opening says what is wrong", "[db]") {
  TempDir dir;
  CHECK(reason_of(Database::open(dir / "no" / "folder.db")) == "DB_CANNOT_OPEN");
  CHECK(reason_of(Database::open(dir / "absent.db", {.access = Access::Write})) ==
        "DB_CANNOT_OPEN");
  must(write_file_durably(dir / "text.db", std::string(5000, 'x')));
  CHECK(reason_of(Database::open(dir / "text.db")) == "DB_CORRUPT");
}

TEST_CASE("values come back as they were bound", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  const std::string bytes("a\0b\xff", 4);
  auto tx = must(database->begin());
  must(tx.execute("INSERT INTO t VALUES (?, ?, ?)", INT64_MIN, std::string_view("z\xc3\xbc"),
                  Blob{bytes}));
  must(tx.execute("INSERT INTO t VALUES (?, ?, ?)", 2, std::optional<std::string>{}, Blob{}));
  auto rows = must(tx.query("SELECT id, word, bytes FROM t ORDER BY id"));
  REQUIRE(must(rows.step()));
  CHECK(rows.integer(0) == INT64_MIN);
  CHECK(rows.text(1) == "z\xc3\xbc");
  CHECK(rows.blob(2) == bytes);
  REQUIRE(must(rows.step()));
  CHECK(rows.is_null(1));
  CHECK_FALSE(rows.is_null(2));
  CHECK(rows.blob(2).empty());
  CHECK_FALSE(must(rows.step()));
}

TEST_CASE("a transaction that is not committed leaves nothing", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  {
    auto tx = must(database->begin());
    must(tx.execute("INSERT INTO t (id) VALUES (1)"));
  }
  CHECK(count(*database) == 0);
  auto tx = must(database->begin());
  must(tx.execute("INSERT INTO t (id) VALUES (1)"));
  must(tx.commit());
  CHECK(count(*database) == 1);
}

TEST_CASE("a failed nested step is undone alone", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  auto tx = must(database->begin());
  must(tx.nested([](Transaction& t) -> Status {
    TRY(t.execute("INSERT INTO t (id, word) VALUES (1, 'one')"));
    return {};
  }));
  const auto failed = tx.nested([](Transaction& t) -> Status {
    TRY(t.execute("INSERT INTO t (id, word) VALUES (2, 'two')"));
    TRY(t.execute("INSERT INTO t (id, word) VALUES (3, 'one')"));
    return {};
  });
  CHECK(reason_of(failed) == "DB_UNIQUE");
  CHECK(failed.error().code() == Code::AlreadyExists);
  must(tx.commit());
  CHECK(count(*database) == 1);
}

TEST_CASE("a reader keeps its snapshot while others commit", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  auto other = must(Database::open("/t.db", {.access = Access::Read, .vfs = disk.vfs()}));
  auto snapshot = must(other->begin_read());
  CHECK(must(snapshot.integer("SELECT count(*) FROM t")) == 0);
  auto tx = must(database->begin());
  must(tx.execute("INSERT INTO t (id) VALUES (1)"));
  must(tx.commit());
  CHECK(must(snapshot.integer("SELECT count(*) FROM t")) == 0);
  CHECK(count(*database) == 1);
}

TEST_CASE("a reading connection refuses to write", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  auto reader = must(Database::open("/t.db", {.access = Access::Read, .vfs = disk.vfs()}));
  auto tx = must(reader->begin_read());
  auto rows = must(tx.query("DELETE FROM t"));
  CHECK(reason_of(rows.step()) == "DB_READ_ONLY");
}

TEST_CASE("a second writer is told that the database is busy", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  auto other = must(
      Database::open("/t.db", {.vfs = disk.vfs(), .busy_timeout = std::chrono::milliseconds(0)}));
  auto tx = must(database->begin());
  const auto refused = other->begin();
  CHECK(reason_of(refused) == "DB_BUSY");
  CHECK(refused.error().code() == Code::Unavailable);
}

TEST_CASE("a full disk is named, loses nothing and ends when there is room", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  const auto insert = [&](int id) -> Status {
    auto tx = TRY(database->begin());
    TRY(tx.execute("INSERT INTO t (id, bytes) VALUES (?, zeroblob(20000))", id));
    return tx.commit();
  };
  must(insert(1));
  disk.set_capacity(disk.size("/t.db") + disk.size("/t.db-wal"));
  const auto full = insert(2);
  CHECK(reason_of(full) == "DISK_FULL");
  CHECK(full.error().code() == Code::ResourceExhausted);
  CHECK(!full.error().remedy().empty());
  CHECK(count(*database) == 1);
  disk.clear_capacity();
  must(insert(2));
  CHECK(count(*database) == 2);
  must(database->quick_check());
}

TEST_CASE("an I/O error is unavailable, not corruption", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  disk.set_failing(FaultDisk::Operation::Sync, true);
  auto tx = must(database->begin());
  must(tx.execute("INSERT INTO t (id) VALUES (1)"));
  const auto failed = tx.commit();
  CHECK(reason_of(failed) == "DB_IO");
  CHECK(failed.error().code() == Code::Unavailable);
  disk.set_failing(FaultDisk::Operation::Sync, false);
  CHECK(count(*database) == 0);
}

TEST_CASE("statements are prepared once and come back unbound", "[db]") {
  FaultDisk disk;
  auto database = with_table(disk);
  const auto before = database->cached_sql().size();
  for (int i = 0; i < 10; ++i) {
    auto tx = must(database->begin_read());
    auto rows = must(tx.query("SELECT ? + 1", i));
    REQUIRE(must(rows.step()));
    CHECK(rows.integer(0) == i + 1);
  }
  CHECK(database->cached_sql().size() == before + 3);  // BEGIN, SELECT, ROLLBACK
}

}  // namespace
}  // namespace reeve::db
