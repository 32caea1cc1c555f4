#include "base/subprocess.h"

#include <csignal>

#include <catch2/catch.hpp>
#include <unistd.h>

namespace reeve {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a program gets its input and its output comes back", "[base]") {
  const auto finished = run({.argv = {"sh", "-c", "cat; echo bad >&2; exit 3"}, .input = "hello"});
  CHECK(finished.value().exit_code == 3);
  CHECK(finished.value().output == "hello");
  CHECK(finished.value().errors == "bad\n");
}

TEST_CASE("output beyond the limit is dropped, not kept and not blocking", "[base]") {
  const auto finished = run({.argv = {"head", "-c", "1000000", "/dev/zero"}, .output_limit = 1000});
  CHECK(finished.value().output.size() == 1000);
}

TEST_CASE("a program that hangs is killed at its deadline", "[base]") {
  CHECK(run({.argv = {"sleep", "60"}, .timeout = 50ms}).error().reason() == "PROGRAM_TIMEOUT");
}

TEST_CASE("a missing program is named", "[base]") {
  const auto error = run({.argv = {"no-such-program-here"}}).error();
  CHECK(error.reason() == "PROGRAM_NOT_FOUND");
  CHECK(error.message().find("no-such-program-here") != std::string::npos);
}

TEST_CASE("run_checked carries the end of stderr", "[base]") {
  const auto error = run_checked({.argv = {"sh", "-c", "echo why >&2; exit 1"}}).error();
  CHECK(error.message() == "'sh' ended with 1: why");
}

TEST_CASE("a spawned process is told apart from a later one with its pid", "[base]") {
  auto process = Process::spawn({"sleep", "60"}, {});
  REQUIRE(process.ok());
  CHECK(process_parent(process.value().pid()).value() == ::getpid());
  const auto ticks = process_start_ticks(process.value().pid());
  CHECK(ticks.value() > 0);
  CHECK(process.value().wait(0ms).error().reason() == "PROGRAM_RUNNING");
  process.value().signal(SIGKILL);
  CHECK(process.value().wait(5s).value() == 128 + SIGKILL);
  CHECK(process_start_ticks(process.value().pid()).error().reason() == "NO_PROCESS");
}

TEST_CASE("kept descriptors arrive under their number even when numbers cross", "[base]") {
  int a[2], b[2];
  REQUIRE(::pipe(a) == 0);
  REQUIRE(::pipe(b) == 0);
  auto process = Process::spawn({"sh", "-c", "echo to-a >&3; echo to-b >&4"}, {},
                                Process::Session::Own, {{a[1], 3}, {b[1], 4}});
  REQUIRE(process.ok());
  CHECK(process.value().wait(5s).value() == 0);
  char text[5];
  REQUIRE(::read(a[0], text, 5) == 5);
  CHECK(std::string_view(text, 5) == "to-a\n");
  REQUIRE(::read(b[0], text, 5) == 5);
  CHECK(std::string_view(text, 5) == "to-b\n");
  for (const int fd : {a[0], a[1], b[0], b[1]}) ::close(fd);
}

}  // namespace
}  // namespace reeve
