// tests/system/demo_lab_test.cpp - the demos that take minutes: `./dev demo --lab`, which needs
// neither root nor KVM since the host is an emulated machine, and `./dev demo --debian`.
#include <catch2/catch.hpp>

#include "tests/system/demo_check.h"

namespace reeve::test {

TEST_CASE("the lab's demo proves each of its steps and leaves nothing behind") {
  check_demo("lab", "", std::chrono::minutes(8));
}

TEST_CASE("the demo of a whole Debian proves each of its steps and leaves nothing behind",
          "[root]") {
  check_demo("demo", "--debian", std::chrono::minutes(8));
}

}  // namespace reeve::test
