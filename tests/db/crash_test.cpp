// Cuts the power after every single write, sync, truncation and deletion, starts again and looks.
//
// A failing case prints its seed and the operation; REEVE_CRASH_SEED=<seed> runs that one alone.
#include <cstdlib>

#include "base/log.h"
#include "base/random.h"
#include "db/commit_group.h"
#include "db/repo/feed_repo.h"
#include "db/repo/lock_repo.h"
#include "db/store.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;
using Loss = FaultDisk::Loss;

/// Thousands of migrations would each log a line.
[[maybe_unused]] const bool kQuiet = (log::set_level(log::Level::Warning), true);

std::vector<std::uint64_t> seeds(std::uint64_t count) {
  if (const char* one = std::getenv("REEVE_CRASH_SEED")) return {std::strtoull(one, nullptr, 10)};
  std::vector<std::uint64_t> out;
  for (std::uint64_t seed = 1; seed <= count; ++seed) out.push_back(seed);
  return out;
}

Status open_and_migrate(FaultDisk& disk, std::span<const Migration> migrations) {
  auto database = TRY(Database::open(kDatabasePath, {.vfs = disk.vfs()}));
  TRY(migrate(*database, migrations));
  return {};
}

TEST_CASE("a crash at any point of the first migration leaves nothing or all of it",
          "[db][crash]") {
  for (const auto seed : seeds(3)) {
    for (std::int64_t n = 1;; ++n) {
      FaultDisk disk(seed * 100'000 + static_cast<std::uint64_t>(n));
      disk.crash_after(n);
      (void)open_and_migrate(disk, embedded_migrations());
      if (!disk.crashed()) break;
      INFO("seed " << seed << ", operation " << n);
      disk.restart(Loss::PowerCut);
      must(open_and_migrate(disk, embedded_migrations()));
      auto database = must(Database::open(kDatabasePath, {.vfs = disk.vfs()}));
      must(database->quick_check());
      CHECK(must(database->pragma("user_version")) ==
            static_cast<std::int64_t>(embedded_migrations().size()));
    }
  }
}

constexpr int kMachines = 40;

/// A database of schema `number` as its program left it: rows of every table that the first schema
/// has. Written in its SQL, since the repositories write the schema of today.
FaultDisk::Image image_of_schema(int number) {
  FaultDisk disk;
  {
    auto database = must(Database::open(kDatabasePath, {.vfs = disk.vfs()}));
    must(migrate(*database, embedded_migrations().first(static_cast<std::size_t>(number))));
    auto tx = must(database->begin());
    must(tx.execute(
        "INSERT INTO host (uid, name, etag, revision, create_time, update_time, state, address, "
        "link_epoch, link_last_seq, spec, status) VALUES ('h1', 'alpha', '1', 1, 10, 20, "
        "'connected', '', 0, 0, x'', x'')"));
    must(tx.execute(
        "INSERT INTO hypervisor (uid, name, host_uid, kind, state, etag, revision, create_time, "
        "update_time, spec, status) VALUES ('y1', 'core', 'h1', 'core', 'available', '2', 2, 10, "
        "20, x'', x'')"));
    must(tx.execute(
        "INSERT INTO image (uid, name, kind, format, state, size_bytes, host_uid, etag, revision, "
        "create_time, update_time, spec, status) VALUES ('i1', 'base', 'disk', 'qcow2', 'ready', "
        "512, 'h1', '3', 3, 10, 20, x'', x'')"));
    for (std::int64_t n = 1; n <= kMachines; ++n) {
      const auto name = std::to_string(n);
      must(tx.execute(
          "INSERT INTO vm (uid, name, host_uid, hypervisor_uid, state, cpus, memory_mib, origin, "
          "etag, revision, create_time, update_time, spec, status) VALUES (?, ?, 'h1', 'y1', "
          "'running', 2, 512, 'managed', '4', ?, 11, 21, randomblob(600), x'bb')",
          "v" + name, "vm" + name, n + 3));
      must(tx.execute(
          "INSERT INTO object_version (revision, kind, uid, name, state, etag, create_time, time, "
          "actor, deleted, spec, status) VALUES (?, 'vm', ?, ?, 'running', '4', 11, 21, 'a', 0, "
          "x'aa', x'bb')",
          n, "v" + name, "vm" + name));
    }
    must(tx.execute("UPDATE meta SET value = ? WHERE key = 'revision'", std::int64_t{kMachines}));
    must(tx.commit());
  }
  return disk.image();
}

/// Whatever schema it is in by now, it is whole and has every row.
void check_data(FaultDisk& disk, int at_least) {
  auto database = must(Database::open(kDatabasePath, {.vfs = disk.vfs()}));
  must(database->quick_check());
  CHECK(must(database->pragma("user_version")) >= at_least);
  auto tx = must(database->begin_read());
  REQUIRE(must(tx.integer("SELECT count(*) FROM vm WHERE length(spec) = 600")) == kMachines);
  REQUIRE(must(tx.integer("SELECT count(*) FROM object_version WHERE spec = x'aa'")) == kMachines);
  for (const auto* table : {"host", "hypervisor", "image"})
    REQUIRE(must(tx.integer("SELECT count(*) FROM " + std::string(table))) == 1);
}

/// Nobody but the migration that made it writes this, so one that was applied by halves, or twice,
/// shows.
std::vector<std::string> schema_of(FaultDisk& disk) {
  auto database = must(Database::open(kDatabasePath, {.vfs = disk.vfs()}));
  auto tx = must(database->begin_read());
  auto rows = must(tx.query(
      "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1"));
  std::vector<std::string> out;
  while (must(rows.step())) out.push_back(rows.text(0));
  return out;
}

/// What the migration from schema `before` left beside the database.
void check_backup(FaultDisk& disk, int before) {
  const auto path = std::string(kDatabasePath) + ".before-000" + std::to_string(before + 1);
  // The copy's own journal may have come back, since a simulated disk has no folder to sync: opened
  // for writing it undoes the copy's last transaction, which only changed how it is journalled.
  auto backup = must(Database::open(path, {.access = Access::CreateFile, .vfs = disk.vfs()}));
  REQUIRE(must(backup->pragma("user_version")) == before);
  auto tx = must(backup->begin_read());
  REQUIRE(must(tx.integer("SELECT count(*) FROM vm WHERE length(spec) = 600")) == kMachines);
}

TEST_CASE("a crash at any point of a later migration or its backup loses no data", "[db][crash]") {
  const auto all = embedded_migrations();
  const auto last = static_cast<int>(all.size());
  REQUIRE(last > 1);
  for (int before = 1; before < last; ++before) {
    const auto image = image_of_schema(before);
    const auto up_to = all.first(static_cast<std::size_t>(before) + 1);
    FaultDisk undisturbed;
    undisturbed.load(image);
    must(open_and_migrate(undisturbed, up_to));
    const auto schema = schema_of(undisturbed);
    for (const auto seed : seeds(2)) {
      for (std::int64_t n = 1;; ++n) {
        FaultDisk disk(seed * 100'000 + static_cast<std::uint64_t>(n));
        disk.load(image);
        disk.crash_after(n);
        (void)open_and_migrate(disk, up_to);
        if (!disk.crashed()) break;
        INFO("schema " << before << ", seed " << seed << ", operation " << n);
        disk.restart(Loss::PowerCut);
        check_data(disk, before);
        must(open_and_migrate(disk, up_to));
        check_data(disk, before + 1);
        REQUIRE(schema_of(disk) == schema);
        check_backup(disk, before);
      }
    }
  }
}

/// What the workload was told: the counter that the last acknowledged group wrote, and the one that
/// was on its way.
struct Told {
  std::int64_t acknowledged = 0;
  std::int64_t attempted = 0;
};

/// Group `n`: a host, a machine on it, a job with journal and lock; every third removes an older
/// one. All carry n, so a half visible group shows as a wrong count.
Status change(Transaction& tx, std::int64_t n) {
  const auto id = std::to_string(n);
  TRY(HostRepo(tx).insert(host_row("h" + id, "host-" + id), by("a", n)));
  auto vm = vm_row("v" + id, "vm-" + id, "h" + id);
  vm.spec = std::string(static_cast<std::size_t>(n % 7) * 900, 'x');
  TRY(VmRepo(tx).insert(vm, by("a", n)));
  TRY(JobRepo(tx).insert(job_row("j" + id, "create_vm", "v" + id), by("a", n)));
  TRY(JobRepo(tx).put_step({.job_uid = "j" + id, .name = "define", .state = "running"}));
  TRY(LockRepo(tx).acquire({"vms/v" + id}, "j" + id, at(n)));
  vm.state = "running";
  TRY(VmRepo(tx).update_status(vm, by("a", n)));
  TRY(tx.execute("UPDATE meta SET value = ? WHERE key = 'groups'", n));
  return {};
}

/// Runs groups until the disk dies or `groups` are done; checkpoints now and then.
Told run_workload(FaultDisk& disk, std::int64_t groups) {
  Told told;
  auto opened = Database::open(kDatabasePath, {.access = Access::Write, .vfs = disk.vfs()});
  if (!opened.ok()) return told;
  auto& database = *opened.value();
  (void)database.run_script("PRAGMA wal_autocheckpoint = 20");
  for (std::int64_t n = 1; n <= groups; ++n) {
    told.attempted = n;
    std::vector<CommitGroup::Entry> group;
    bool acknowledged = true;
    for (const std::int64_t part : {3 * n - 2, 3 * n - 1, 3 * n})
      group.push_back(
          {[part](Transaction& tx) { return change(tx, part); },
           [&](Status status, std::int64_t) { acknowledged = acknowledged && status.ok(); }});
    (void)CommitGroup::run(database, group, {});
    if (!acknowledged) break;
    told.acknowledged = n;
  }
  return told;
}

void check_after_crash(FaultDisk& disk, const Told& told) {
  auto store = must(Store::open({.path = kDatabasePath, .vfs = disk.vfs()}));
  REQUIRE_FALSE(store->damage());
  auto database = store->take_writer_connection();
  auto tx = must(database->begin_read());
  const auto changes = must(tx.integer("SELECT value FROM meta WHERE key = 'groups'")).value_or(0);
  REQUIRE(changes % 3 == 0);                  // no half commit
  REQUIRE(changes / 3 >= told.acknowledged);  // nothing acknowledged is lost
  REQUIRE(changes / 3 <= told.attempted);
  for (const auto* table : {"host", "vm", "job", "job_step", "job_lock"})
    REQUIRE(must(tx.integer("SELECT count(*) FROM " + std::string(table))) == changes);
  REQUIRE(must(tx.integer("SELECT count(*) FROM vm WHERE state = 'running'")) == changes);
  const auto revision = must(FeedReader(tx).revision());
  REQUIRE(revision == 4 * changes);
  REQUIRE(must(tx.integer("SELECT count(*) FROM object_version")) == revision);
}

FaultDisk::Image image_for_workload() {
  MemoryDb memory;
  must(memory.database->run_script("INSERT INTO meta (key, value) VALUES ('groups', 0)"));
  memory.database.reset();
  return memory.disk.image();
}

TEST_CASE("a power cut at any point of a mixed workload loses nothing acknowledged",
          "[db][crash]") {
  const auto image = image_for_workload();
  for (const auto seed : seeds(3)) {
    for (std::int64_t n = 1;; ++n) {
      FaultDisk disk(seed * 100'000 + static_cast<std::uint64_t>(n));
      disk.load(image);
      disk.crash_after(n);
      const auto told = run_workload(disk, 6);
      if (!disk.crashed()) break;
      INFO("seed " << seed << ", operation " << n);
      disk.restart(Loss::PowerCut);
      check_after_crash(disk, told);
    }
  }
}

TEST_CASE("a killed process at any point of a mixed workload loses nothing acknowledged",
          "[db][crash]") {
  const auto image = image_for_workload();
  for (std::int64_t n = 1;; n += 3) {
    FaultDisk disk(static_cast<std::uint64_t>(n));
    disk.load(image);
    disk.crash_after(n);
    const auto told = run_workload(disk, 6);
    if (!disk.crashed()) break;
    INFO("operation " << n);
    disk.restart(Loss::KillProcess);
    check_after_crash(disk, told);
  }
}

TEST_CASE("a second power cut during recovery changes nothing", "[db][crash]") {
  const auto image = image_for_workload();
  for (const auto seed : seeds(60)) {
    SeededRandom random(seed);
    FaultDisk disk(seed);
    disk.load(image);
    disk.crash_after(static_cast<std::int64_t>(random.below(150)) + 1);
    const auto told = run_workload(disk, 6);
    disk.crash_now();
    for (int again = 0; again < 3; ++again) {
      disk.restart(Loss::PowerCut);
      disk.crash_after(static_cast<std::int64_t>(random.below(6)) + 1);
      (void)Store::open({.path = kDatabasePath, .vfs = disk.vfs()});
      disk.crash_now();
    }
    INFO("seed " << seed);
    disk.restart(Loss::PowerCut);
    check_after_crash(disk, told);
  }
}

TEST_CASE("a disk that fills up at any point refuses, loses nothing and goes on", "[db][crash]") {
  const auto image = image_for_workload();
  FaultDisk measure;
  measure.load(image);
  const auto empty = measure.size(kDatabasePath);
  for (std::int64_t room = 0; room < 600'000; room += 7'000) {
    FaultDisk disk(static_cast<std::uint64_t>(room));
    disk.load(image);
    disk.set_capacity(empty + room);
    const auto told = run_workload(disk, 6);
    INFO("room for " << room << " bytes");
    disk.clear_capacity();
    check_after_crash(disk, told);
  }
}

}  // namespace
}  // namespace reeve::db
