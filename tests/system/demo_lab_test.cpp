// tests/system/demo_lab_test.cpp - `./dev demo --lab --check` as a person runs it.
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace reeve {

TEST_CASE("the lab's demo proves each of its steps and leaves nothing behind") {
  const test::TempDir scratch;
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const auto done =
      run({.argv = {"env", "TMPDIR=" + scratch.path().string(), "BIN=" + programs.string(),
                    test::source_dir() / "tools/demo/lab", "--check"},
           .timeout = std::chrono::minutes(8)});
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

}  // namespace reeve
