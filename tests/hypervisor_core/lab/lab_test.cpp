// tests/hypervisor_core/lab/lab_test.cpp - unmodified Linux on the own core, in the KVM lab: the
// sample that every test run has.
#include <catch2/catch.hpp>

#include "tests/hypervisor_core/lab/in_lab.h"

namespace reeve::core {

TEST_CASE("Linux uses every device of the core and moves to another process with all it has open") {
  hold_in_lab({"full_machine"}, {"--add", "/usr/bin/iasl"});
}

}  // namespace reeve::core
