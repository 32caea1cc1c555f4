#include "base/status.h"

#include <catch2/catch.hpp>

namespace reeve {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return Error{Code::InvalidArgument, "ODD", "odd number"};
  return value / 2;
}
Result<int> quarter(int value) {
  const int once = TRY(half(value));
  return TRY(half(once));
}

TEST_CASE("TRY returns the value or passes the error on", "[base]") {
  CHECK(quarter(8).value() == 2);
  CHECK(quarter(6).error().reason() == "ODD");
}

TEST_CASE("during says what was attempted and keeps code and reason", "[base]") {
  const Error error = Error(Code::NotFound, "NO_DISK", "no disk 'a'").during("starting vm");
  CHECK(error.message() == "starting vm: no disk 'a'");
  CHECK(error.reason() == "NO_DISK");
  CHECK(error.code() == Code::NotFound);
}

TEST_CASE("an error carries its remedy, resource and numbers", "[base]") {
  const Error error = Error(Code::ResourceExhausted, "NO_ROOM", "needs 5")
                          .remedy("free 2")
                          .resource("hosts/x")
                          .with("needed", "5");
  CHECK(error.remedy() == "free 2");
  CHECK(error.resource() == "hosts/x");
  CHECK(error.metadata().at("needed") == "5");
}

}  // namespace
}  // namespace reeve
