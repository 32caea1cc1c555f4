// tests/hypervisor_core/lab/lab_test.cpp - unmodified Linux on the own core, in the KVM lab.
#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/paths.h"

namespace reeve::core {
namespace {

Finished lab(const std::string& scenario) {
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const auto done =
      run({.argv = {test::source_dir() / "tools/lab/run", "--guest", "--timeout", "400", "--add",
                    programs / "reeve-vmm", "--add", programs / "core_guest_scenario", "--",
                    "core_guest_scenario", scenario},
           .timeout = std::chrono::minutes(8)});
  REQUIRE(done.ok());
  return done.value();
}

}  // namespace

TEST_CASE(
    "Linux boots on two vCPUs, uses its disk, survives pauses and a move to another process") {
  const auto done = lab("life");
  INFO(done.output << done.errors);
  CHECK(done.exit_code == 0);
  CHECK(done.output.find("all held") != std::string::npos);
}

TEST_CASE("Linux from a bzImage reboots in the same process") {
  const auto done = lab("reboot");
  INFO(done.output << done.errors);
  CHECK(done.exit_code == 0);
}

TEST_CASE("a full host disk pauses Linux, which goes on in another process without loss") {
  const auto done = lab("full");
  INFO(done.output << done.errors);
  CHECK(done.exit_code == 0);
}

}  // namespace reeve::core
