// tests/server/auth/auth_fixture.h - a database on a disk that fails on demand, a clock that
// stands, and waiting for replies.
#pragma once

#include <algorithm>
#include <future>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "db/group_writer.h"
#include "db/repo/audit_repo.h"
#include "db/store.h"
#include "server/app/caller.h"
#include "server/auth/commit.h"
#include "tests/support/db_image.h"
#include "tests/support/fault_disk.h"
#include "tests/support/temp_dir.h"

namespace reeve::server::test {

struct StoppedClock final : Clock {
  WallTime now{std::chrono::seconds(1'800'000'000)};
  WallTime wall() const override { return now; }
  Monotonic monotonic() const override { return Monotonic(now.time_since_epoch()); }
};

struct AuthFixture {
  reeve::test::TempDir dir;
  reeve::test::FaultDisk disk;
  StoppedClock clock;
  std::unique_ptr<db::Store> store =
      db::Store::open({.path = reeve::test::kDatabasePath, .vfs = disk.vfs()}).value();
  db::GroupWriter writer{store->take_writer_connection(), [](std::int64_t, std::int64_t) {}};
  /// Every change that writes an audit row fails from now on.
  void refuse_audit_rows() {
    REQUIRE(commit_and_wait(writer, [](db::Transaction& tx) -> Status {
              TRY(
                  tx.execute("CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN "
                             "SELECT raise(FAIL, 'no audit'); END"));
              return {};
            }).ok());
  }
  /// Oldest first.
  std::vector<db::AuditEntry> audit_rows() {
    auto rows = store->readers()
                    .read([](db::ReadTransaction& tx) {
                      return db::AuditReader(tx).list({}, {.limit = 100, .descending = true});
                    })
                    .value();
    std::ranges::reverse(rows);
    return rows;
  }
  Caller admin{.actor = "tokens/admin", .peer = "192.0.2.1", .permissions = PermissionSet::all()};
};

/// Calls `start(reply)` and waits for the reply.
template <class T, class Start>
Result<T> await(const Start& start) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  start([promise](Result<T> result) { promise->set_value(std::move(result)); });
  REQUIRE(future.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  return future.get();
}

template <class T>
std::string reason_of(const Result<T>& result) {
  return result.ok() ? "OK" : std::string(result.error().reason());
}

}  // namespace reeve::server::test
