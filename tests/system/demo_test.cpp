// tests/system/demo_test.cpp - `./dev demo --check` as a person runs it.
#include <catch2/catch.hpp>

#include "tests/system/demo_check.h"

namespace reeve::test {

TEST_CASE("the demo proves each of its steps and leaves nothing behind", "[system][root]") {
  check_demo("demo", "", std::chrono::minutes(4));
}

}  // namespace reeve::test
