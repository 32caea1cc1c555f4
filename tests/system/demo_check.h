// tests/system/demo_check.h - a demo as a person runs it, with --check.
#pragma once

#include <chrono>
#include <string>

namespace reeve::test {

/// Runs `tools/demo/SCRIPT --check OPTION`: it must prove each of its steps and leave nothing
/// behind.
void check_demo(const std::string& script, const std::string& option, std::chrono::minutes limit);

}  // namespace reeve::test
