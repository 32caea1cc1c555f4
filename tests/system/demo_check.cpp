#include "tests/system/demo_check.h"

#include <filesystem>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace reeve::test {

void check_demo(const std::string& script, const std::string& option, std::chrono::minutes limit) {
  const TempDir scratch;
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  Command demo{.argv = {"env", "TMPDIR=" + scratch.path().string(), "BIN=" + programs.string(),
                        source_dir() / "tools/demo" / script, "--check"},
               .timeout = limit};
  if (!option.empty()) demo.argv.push_back(option);
  const auto done = run(demo);
  REQUIRE(done.ok());
  INFO(done.value().output << done.value().errors);
  CHECK(done.value().exit_code == 0);
  CHECK(done.value().errors.find("every step proved") != std::string::npos);
  CHECK(std::filesystem::is_empty(scratch.path()));
  // Whatever it started has the folder's name in its arguments.
  const auto left = run({.argv = {"pgrep", "-af", scratch.path().string()}});
  REQUIRE(left.ok());
  CHECK(left.value().output.empty());
}

}  // namespace reeve::test
