// tests/server/auth/auth_fixture.h - a database in a scratch folder, a clock that stands, and
// waiting for replies.
#pragma once

#include <future>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "db/group_writer.h"
#include "db/store.h"
#include "server/app/caller.h"
#include "tests/support/temp_dir.h"

namespace reeve::server::test {

struct StoppedClock final : Clock {
  WallTime now{std::chrono::seconds(1'800'000'000)};
  WallTime wall() const override { return now; }
  Monotonic monotonic() const override { return Monotonic(now.time_since_epoch()); }
};

struct AuthFixture {
  reeve::test::TempDir dir;
  StoppedClock clock;
  std::unique_ptr<db::Store> store = db::Store::open({.path = dir / "reeve.db"}).value();
  db::GroupWriter writer{store->take_writer_connection(), [](std::int64_t, std::int64_t) {}};
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
