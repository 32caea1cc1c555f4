#include "db/sqlite/migrate.h"

#include <algorithm>

#include "base/file.h"
#include "db/repo/meta_repo.h"
#include "tests/db/db_fixture.h"
#include "tests/support/temp_dir.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

/// The real migrations and one more that is made up, so that "from the previous schema" can be
/// shown.
std::vector<Migration> with_next(std::string_view sql) {
  const auto real = embedded_migrations();
  std::vector<Migration> out(real.begin(), real.end());
  out.push_back({static_cast<int>(out.size()) + 1, "made_up", sql});
  return out;
}

std::vector<std::string> schema_of(Database& database) {
  auto tx = must(database.begin_read());
  auto rows = must(tx.query(
      "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1"));
  std::vector<std::string> out;
  while (must(rows.step())) out.push_back(rows.text(0));
  return out;
}

TEST_CASE("migrations are numbered from one without gaps", "[db]") {
  int expected = 1;
  for (const auto& migration : embedded_migrations()) CHECK(migration.number == expected++);
  CHECK(expected > 1);
}

TEST_CASE("schema.sql equals all migrations applied", "[db]") {
  FaultDisk disk;
  auto migrated = must(Database::open("/migrated.db", {.vfs = disk.vfs()}));
  must(migrate(*migrated, embedded_migrations()));
  auto written = must(Database::open("/written.db", {.vfs = disk.vfs()}));
  must(written->run_script(must(read_file(REEVE_SCHEMA_SQL))));
  CHECK(schema_of(*migrated) == schema_of(*written));
}

TEST_CASE("migrating twice changes nothing", "[db]") {
  MemoryDb memory;
  const auto again = must(migrate(*memory.database, embedded_migrations()));
  CHECK(again.before == again.after);
  CHECK(again.after == static_cast<int>(embedded_migrations().size()));
}

TEST_CASE("a migration keeps the data and leaves a backup of the schema before", "[db]") {
  TempDir dir;
  auto database = must(Database::open(dir / "reeve.db"));
  must(migrate(*database, embedded_migrations()));
  {
    auto tx = must(database->begin());
    must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
    must(VmRepo(tx).insert(vm_row("v1", "web", "h1"), by("a")));
    must(tx.commit());
  }
  const auto next = with_next("ALTER TABLE vm ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue';");
  const auto versions = must(migrate(*database, next));
  CHECK(versions.after == versions.before + 1);
  {
    auto tx = must(database->begin_read());
    CHECK(must(tx.text("SELECT colour FROM vm WHERE name = 'web'")) == "blue");
  }
  auto backup = must(Database::open(dir / ("reeve.db.before-000" + std::to_string(versions.after)),
                                    {.access = Access::ReadFile}));
  CHECK(must(backup->pragma("user_version")) == versions.before);
  auto tx = must(backup->begin_read());
  CHECK(must(tx.text("SELECT spec FROM vm WHERE name = 'web'")) == "spec of v1");
}

TEST_CASE("every migration after the first keeps the data of the one before", "[db]") {
  FaultDisk disk;
  auto database = must(Database::open("/reeve.db", {.vfs = disk.vfs()}));
  const auto all = embedded_migrations();
  must(migrate(*database, all.first(1)));
  {
    auto tx = must(database->begin());
    must(tx.execute(
        "INSERT INTO host (uid, name, etag, revision, create_time, update_time, state, "
        "address, link_epoch, link_last_seq, spec, status) VALUES ('h1', 'alpha', '1', 1, 10, 20, "
        "'connected', '', 0, 0, x'', x'')"));
    must(
        tx.execute("INSERT INTO vm (uid, name, host_uid, state, cpus, memory_mib, origin, etag, "
                   "revision, create_time, update_time, spec, status) VALUES ('v1', 'web', 'h1', "
                   "'running', 2, 512, 'managed', '2', 2, 11, 21, x'aa', x'bb')"));
    must(tx.commit());
  }
  must(migrate(*database, all));
  auto tx = must(database->begin_read());
  for (const auto order : {ObjectOrder::Name, ObjectOrder::CreateTime, ObjectOrder::UpdateTime}) {
    const auto vms = must(VmReader(tx).list({Column::State, "running"}, order, {}));
    REQUIRE(vms.size() == 1);
    CHECK(vms[0].name == "web");
    CHECK(vms[0].spec == "\xaa");
    CHECK(must(HostReader(tx).list({}, order, {})).size() == 1);
  }
}

TEST_CASE("a migration may rebuild a table that others refer to", "[db]") {
  MemoryDb memory;
  {
    auto tx = memory.begin();
    must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
    must(VmRepo(tx).insert(vm_row("v1", "web", "h1"), by("a")));
    must(tx.commit());
  }
  must(migrate(*memory.database,
               with_next("CREATE TABLE host_new AS SELECT * FROM host; DROP TABLE host;"
                         "CREATE TABLE host (uid TEXT PRIMARY KEY, name TEXT) STRICT;"
                         "INSERT INTO host SELECT uid, name FROM host_new; DROP TABLE host_new;")));
  CHECK(must(memory.database->pragma("foreign_keys")) == 1);
}

TEST_CASE("a migration that breaks references or fails is undone as a whole", "[db]") {
  MemoryDb memory;
  {
    auto tx = memory.begin();
    must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
    must(VmRepo(tx).insert(vm_row("v1", "web", "h1"), by("a")));
    must(tx.commit());
  }
  const auto before = schema_of(*memory.database);
  CHECK(reason_of(migrate(*memory.database, with_next("DELETE FROM host;"))) == "DB_CONSTRAINT");
  CHECK(reason_of(migrate(*memory.database, with_next("CREATE TABLE extra (a) ; SELEC;"))) ==
        "DB_ERROR");
  CHECK(schema_of(*memory.database) == before);
  auto tx = must(memory.database->begin_read());
  CHECK(must(tx.integer("SELECT count(*) FROM host")) == 1);
}

TEST_CASE("a database of a newer version is refused with both numbers", "[db]") {
  MemoryDb memory;
  must(memory.database->run_script("PRAGMA user_version = 900"));
  const auto refused = migrate(*memory.database, embedded_migrations());
  REQUIRE(reason_of(refused) == "DB_NEWER_SCHEMA");
  CHECK(refused.error().code() == Code::FailedPrecondition);
  CHECK(refused.error().message().find("900") != std::string::npos);
  CHECK(refused.error().metadata().at("newest") == std::to_string(embedded_migrations().size()));
  CHECK(!refused.error().remedy().empty());
}

TEST_CASE("another program's database is refused and left alone", "[db]") {
  FaultDisk disk;
  auto database = must(Database::open("/other.db", {.vfs = disk.vfs()}));
  must(database->run_script("CREATE TABLE theirs (a)"));
  CHECK(reason_of(migrate(*database, embedded_migrations())) == "DB_FOREIGN");
  CHECK(schema_of(*database).size() == 1);
  auto marked = must(Database::open("/marked.db", {.vfs = disk.vfs()}));
  must(marked->run_script("PRAGMA application_id = 7"));
  CHECK(reason_of(migrate(*marked, embedded_migrations())) == "DB_FOREIGN");
}

TEST_CASE("epochs grow and the server's identity stays", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  MetaRepo meta(tx);
  CHECK(must(meta.next_epoch()) == 1);
  CHECK(must(meta.next_epoch()) == 2);
  CHECK(must(meta.server_uid("first")) == "first");
  CHECK(must(meta.server_uid("second")) == "first");
}

}  // namespace
}  // namespace reeve::db
