#include "server/auth/roles.h"

#include <catch2/catch.hpp>

#include "server/auth/attempt_limiter.h"
#include "server/auth/paging.h"
#include "tests/server/auth/auth_fixture.h"

namespace reeve::server::test {
namespace {

TEST_CASE("each role holds what the next lower one holds, and more", "[auth]") {
  const auto admin = permissions_of(v1::ROLE_ADMINISTRATOR);
  const auto editor = permissions_of(v1::ROLE_EDITOR);
  const auto operators = permissions_of(v1::ROLE_OPERATOR);
  const auto viewer = permissions_of(v1::ROLE_VIEWER);
  CHECK((admin.bits() & editor.bits()) == editor.bits());
  CHECK((editor.bits() & operators.bits()) == operators.bits());
  CHECK((operators.bits() & viewer.bits()) == viewer.bits());
  for (const auto forbidden : {v1::PERMISSION_EDIT_HOSTS, v1::PERMISSION_ADMINISTER})
    CHECK_FALSE(editor.has(forbidden));
  CHECK_FALSE(operators.has(v1::PERMISSION_EDIT_VMS));
  CHECK_FALSE(viewer.has(v1::PERMISSION_OPERATE));
  CHECK(permissions_of(v1::ROLE_UNSPECIFIED) == PermissionSet{});
  CHECK(permissions_of(static_cast<v1::Role>(99)) == PermissionSet{});
}

TEST_CASE("roles are stored by word and read back", "[auth]") {
  for (int number = v1::ROLE_ADMINISTRATOR; number <= v1::Role_MAX; ++number) {
    const auto role = static_cast<v1::Role>(number);
    CHECK(role_of(to_text(role)) == role);
  }
  CHECK_FALSE(role_of("root").has_value());
  CHECK_FALSE(role_of("").has_value());
}

TEST_CASE("page sizes are capped and page tokens belong to their list", "[auth]") {
  CHECK(page_limit(0).value() == 50);
  CHECK(page_limit(7).value() == 7);
  CHECK(page_limit(100'000).value() == 1000);
  CHECK(reason_of(page_limit(-1)) == "BAD_FIELD");
  CHECK(read_page_token("audit", make_page_token("audit", "17")).value() == "17");
  CHECK(read_page_token("audit", "").value().empty());
  CHECK(reason_of(read_page_token("audit", make_page_token("tokens", "17"))) == "BAD_PAGE_TOKEN");
  CHECK(reason_of(read_page_token("audit", "%%%")) == "BAD_PAGE_TOKEN");
}

TEST_CASE("an address that failed too often waits a minute, others do not", "[auth]") {
  StoppedClock clock;
  AttemptLimiter limiter(clock, 3, std::chrono::minutes(1));
  for (int i = 0; i < 3; ++i) {
    CHECK(limiter.check("192.0.2.1").ok());
    limiter.failed("192.0.2.1");
  }
  CHECK(reason_of(limiter.check("192.0.2.1")) == "TOO_MANY_ATTEMPTS");
  CHECK(limiter.check("192.0.2.2").ok());
  clock.now += std::chrono::minutes(1);
  CHECK(limiter.check("192.0.2.1").ok());
}

}  // namespace
}  // namespace reeve::server::test
