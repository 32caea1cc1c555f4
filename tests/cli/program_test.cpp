// The program itself, without a server: command lines, completion, scripts.
#include <catch2/catch.hpp>

#include "base/subprocess.h"
#include "tests/support/temp_dir.h"

namespace reeve::cli {
namespace {

/// Runs `reeve` with no context to find.
Finished reeve_with(std::vector<std::string> arguments) {
  test::TempDir home;
  std::vector<std::string> argv{"env", "-i", "PATH=/usr/bin:/bin", "HOME=" + home.path().string(),
                                REEVE_PROGRAM};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run({.argv = argv}).value();
}

TEST_CASE("wrong command lines exit with 2", "[cli]") {
  const std::vector<std::vector<std::string>> wrong{{},
                                                    {"vm"},
                                                    {"vm", "nonsense"},
                                                    {"vm", "start"},
                                                    {"vm", "list", "--nonsense"},
                                                    {"image", "import", "x"},
                                                    {"vm", "list", "-o", "xml"},
                                                    {"job", "resolve", "x", "retry", "--dry-run"},
                                                    {"job", "cancel", "x", "--dry-run"},
                                                    {"completion", "tcsh"}};
  for (const auto& arguments : wrong) {
    CAPTURE(arguments);
    CHECK(reeve_with(arguments).exit_code == 2);
  }
}

TEST_CASE("without a login every command says how to log in and exits with 5", "[cli]") {
  const auto finished = reeve_with({"vm", "list"});
  CHECK(finished.exit_code == 5);
  CHECK(finished.errors.find("reeve login") != std::string::npos);
  const auto json = reeve_with({"-o", "json", "vm", "list"});
  CHECK(json.errors.find("\"reason\":\"NOT_LOGGED_IN\"") != std::string::npos);
  CHECK(json.output.empty());
}

TEST_CASE("a machine needs no name on the command line", "[cli]") {
  CHECK(reeve_with({"vm", "create", "--image", "debian", "--cpus", "2", "--memory", "1G",
                    "--cloud-init", "user.yaml", "--start"})
            .exit_code == 5);  // only the login is missing
}

TEST_CASE("every command has a help text", "[cli]") {
  for (const auto* noun : {"login", "context", "host", "hypervisor", "vm", "image", "job", "event",
                           "server", "completion"}) {
    CAPTURE(noun);
    const auto finished = reeve_with({noun, "--help"});
    CHECK(finished.exit_code == 0);
    CHECK(finished.output.find("Usage: reeve") != std::string::npos);
  }
}

TEST_CASE("output that cannot be written is a failure, and a reader who has gone ends the program",
          "[cli]") {
  const auto into = [](const std::string& shell_end) {
    return run({.argv = {"bash", "-c",
                         std::string(REEVE_PROGRAM) + " completion bash " + shell_end}})
        .value();
  };
  const auto full = into("> /dev/full");
  CHECK(full.exit_code == 1);
  CHECK(full.errors.find("writing the output") != std::string::npos);
  CHECK(into("| true; exit ${PIPESTATUS[0]}").errors.empty());
}

TEST_CASE("completion walks the tree, offers options and stays quiet without a server", "[cli]") {
  CHECK(reeve_with({"__complete", "--", "vm", "st"}).output == "start\nstop\n");
  CHECK(reeve_with({"__complete", "--", "vm", "create", "--clo"}).output == "--cloud-init\n");
  CHECK(reeve_with({"__complete", "--", "vm", "list", "-o", "y"}).output == "yaml\n");
  const auto names = reeve_with({"__complete", "--", "vm", "start", ""});
  CHECK(names.exit_code == 0);
  CHECK(names.output.empty());
}

TEST_CASE("the script for each shell is one that the shell accepts", "[cli]") {
  for (const auto* shell : {"bash", "zsh", "fish"}) {
    CAPTURE(shell);
    const auto script = reeve_with({"completion", shell});
    CHECK(script.output.find("reeve __complete -- ") != std::string::npos);
    const auto checked = run({.argv = {shell, "-n"}, .input = script.output});
    REQUIRE(checked.ok());
    CHECK(checked.value().exit_code == 0);
    CHECK(checked.value().errors.empty());
  }
}

}  // namespace
}  // namespace reeve::cli
