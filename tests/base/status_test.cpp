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

TEST_CASE("a copied error is its own, a moved one leaves its code", "[base]") {
  const Error first = Error(Code::NotFound, "NO_DISK", "no disk 'a'").with("disk", "a");
  Error second = first;
  second = std::move(second).with("disk", "b").during("starting vm");
  CHECK(first.message() == "no disk 'a'");
  CHECK(first.metadata().at("disk") == "a");
  CHECK(second.metadata().at("disk") == "b");
  Error third = std::move(second);
  CHECK(third.message() == "starting vm: no disk 'a'");
  CHECK(second.code() == Code::NotFound);  // NOLINT: what is left is defined
  CHECK(second.message().empty());         // NOLINT
  second = third;
  CHECK(second.reason() == "NO_DISK");
}

/// Counts how many there are.
struct Counted {
  explicit Counted(int& there) : count(&there) { ++*count; }
  Counted(const Counted& other) : count(other.count) { ++*count; }
  Counted(Counted&& other) noexcept : count(other.count) { ++*count; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*count; }
  int* count;
};

TEST_CASE("a result holds a value or an error, and changes from one to the other", "[base]") {
  int there = 0;
  {
    Result<Counted> value = Counted(there);
    const Result<Counted> copy = value;
    CHECK(there == 2);
    value = Error(Code::Unknown, "LOST", "gone");
    CHECK(there == 1);
    CHECK(value.error().reason() == "LOST");
    value = copy;
    CHECK(there == 2);
    CHECK(value.ok());
    value = Result<Counted>(std::move(value));
    CHECK(there == 2);
  }
  CHECK(there == 0);
  Result<std::unique_ptr<int>> only_moves = std::make_unique<int>(7);
  const auto moved = std::move(only_moves);
  CHECK(*moved.value() == 7);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<Status>);
}

}  // namespace
}  // namespace reeve
