#include "tests/hypervisor_core/lab/in_lab.h"

#include <chrono>
#include <filesystem>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/paths.h"

namespace reeve::core {

void hold_in_lab(const std::vector<std::string>& scenarios,
                 const std::vector<std::string>& options) {
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::string> argv{test::source_dir() / "tools/lab/run", "--guest", "--timeout",
                                "450"};
  const auto add = [&](const std::string& file) {
    argv.emplace_back("--add");
    argv.push_back(file);
  };
  for (const char* program : {"reeve-vmm", "core_guest_scenario", "core_guest_probe"})
    add(programs / program);
  for (const char* program : {"mke2fs", "e2fsck", "debugfs"}) add(std::string("/sbin/") + program);
  argv.insert(argv.end(), options.begin(), options.end());
  argv.insert(argv.end(), {"--", "core_guest_scenario"});
  argv.insert(argv.end(), scenarios.begin(), scenarios.end());
  const auto done = run({.argv = argv, .timeout = std::chrono::minutes(8)});
  REQUIRE(done.ok());
  INFO(done.value().output << done.value().errors);
  CHECK(done.value().exit_code == 0);
  CHECK(done.value().output.find("all held") != std::string::npos);
}

}  // namespace reeve::core
