#include "server/api/call_limiter.h"

#include <catch2/catch.hpp>

#include "server/auth/audit_log.h"

namespace reeve::server {
namespace {

TEST_CASE("calls are capped in all, per caller and per address, and freed again", "[api]") {
  CallLimiter limiter({.in_all = 5, .per_actor = 3, .anonymous = 1, .per_address = 4});
  for (int i = 0; i < 3; ++i) CHECK(limiter.enter("a", "x").ok());
  CHECK(limiter.enter("a", "y").error().reason() == "TOO_MANY_CALLS");  // per caller
  CHECK(limiter.enter(kAnonymous, "x").ok());
  CHECK_FALSE(limiter.enter(kAnonymous, "y").ok());  // anonymous
  CHECK_FALSE(limiter.enter("b", "x").ok());         // per address
  CHECK(limiter.enter("b", "y").ok());
  CHECK_FALSE(limiter.enter("c", "z").ok());  // in all
  limiter.leave("a", "x");
  CHECK(limiter.enter("c", "z").ok());
  CHECK(limiter.open() == 5);
}

}  // namespace
}  // namespace reeve::server
