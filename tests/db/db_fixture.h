// tests/db/db_fixture.h - a migrated database in memory, and rows to put into it.
#pragma once

#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "db/model/filter.h"
#include "db/repo/host_repo.h"
#include "db/repo/hypervisor_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/job_repo.h"
#include "db/repo/vm_repo.h"
#include "db/sqlite/database.h"
#include "db/sqlite/transaction.h"
#include "tests/support/db_image.h"
#include "tests/support/fault_disk.h"

namespace reeve::test {

/// The value, or a failed test that names the error.
template <class T>
T must(Result<T> result) {
  if (!result.ok()) FAIL(result.error().reason() << ": " << result.error().message());
  return std::move(result).value();
}
inline void must(Status status) {
  if (!status.ok()) FAIL(status.error().reason() << ": " << status.error().message());
}
template <class T>
std::string reason_of(const Result<T>& result) {
  return result.ok() ? "OK" : std::string(result.error().reason());
}

inline WallTime at(std::int64_t seconds) {
  return WallTime(std::chrono::seconds(1'800'000'000 + seconds));
}
inline db::Change by(std::string actor, std::int64_t seconds = 0, std::string job_uid = "") {
  return {.actor = std::move(actor), .job_uid = std::move(job_uid), .time = at(seconds)};
}

inline db::Filter like(db::Column column, const std::string& glob) {
  return db::Filter().also({{column, db::Compare::Glob, glob}});
}

struct MemoryDb {
  FaultDisk disk;
  std::unique_ptr<db::Database> database;

  explicit MemoryDb(std::uint64_t seed = 0) : disk(seed) {
    disk.load(migrated_image());
    database = must(db::Database::open(kDatabasePath, {.vfs = disk.vfs()}));
  }
  std::unique_ptr<db::Database> connect(db::Access access = db::Access::Write) {
    return must(db::Database::open(kDatabasePath, {.access = access, .vfs = disk.vfs()}));
  }
  db::Transaction begin() { return must(database->begin()); }
};

inline db::Host host_row(const std::string& uid, const std::string& name) {
  db::Host host;
  host.uid = uid;
  host.name = name;
  host.state = "ready";
  host.address = "192.0.2.1";
  host.cert_key_sha256 = "key of " + uid;
  host.spec = "spec of " + uid;
  host.status = std::string("status\0with zero", 16);
  return host;
}
inline db::Vm vm_row(const std::string& uid, const std::string& name,
                     const std::string& host_uid = "") {
  db::Vm vm;
  vm.uid = uid;
  vm.name = name;
  vm.host_uid = host_uid;
  vm.state = "stopped";
  vm.cpus = 2;
  vm.memory_mib = 1024;
  vm.origin = "created";
  vm.spec = "spec of " + uid;
  return vm;
}
inline db::Image image_row(const std::string& uid, const std::string& name) {
  db::Image image;
  image.uid = uid;
  image.name = name;
  image.kind = "disk";
  image.format = "qcow2";
  image.state = "importing";
  return image;
}
inline db::Job job_row(const std::string& uid, const std::string& kind,
                       const std::string& target_uid) {
  db::Job job;
  job.uid = uid;
  job.kind = kind;
  job.state = "pending";
  job.target_kind = "vm";
  job.target_uid = target_uid;
  job.target_name = "web";
  job.actor = "users/admin";
  job.plan = "plan";
  return job;
}

}  // namespace reeve::test
