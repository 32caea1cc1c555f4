// tests/hypervisor_core/lab/in_lab.h - runs scenarios (guest_scenario.cpp) in the lab machine, on
// behalf of a test case outside.
#pragma once

#include <string>
#include <vector>

namespace reeve::core {

/// One run of the lab for all of them; fails the test case unless all hold. `options` go to
/// tools/lab/run.
void hold_in_lab(const std::vector<std::string>& scenarios,
                 const std::vector<std::string>& options = {});

}  // namespace reeve::core
