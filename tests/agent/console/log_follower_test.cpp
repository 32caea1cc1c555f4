#include "agent/console/log_follower.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/temp_dir.h"

namespace reeve::agent {
namespace {

void append(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::app) << text;
}

TEST_CASE("following takes each byte once through rotation", "[console]") {
  test::TempDir dir;
  const auto log = dir / "console.log";
  auto ring = ConsoleRing::open(dir / "ring").value();
  const auto follow = [&] { REQUIRE(follow_log(log, ring, 1u << 20).ok()); };
  follow();  // absent: nothing
  append(log, "one ");
  follow();
  append(log, "two ");
  std::filesystem::rename(log, dir / "console.log.0");
  append(log, "three ");
  follow();
  append(log, "four ");
  std::filesystem::rename(dir / "console.log.0", dir / "console.log.1");
  std::filesystem::rename(log, dir / "console.log.0");
  append(log, "five");
  follow();
  follow();
  CHECK(ring.read(0, 1000).value().data == "one two three four five");
}

TEST_CASE("a follower that was away begins with the oldest file there is", "[console]") {
  test::TempDir dir;
  append(dir / "log.1", "a");
  append(dir / "log.0", "b");
  append(dir / "log", "c");
  auto ring = ConsoleRing::open(dir / "ring").value();
  CHECK(follow_log(dir / "log", ring, 2).value());
  CHECK_FALSE(follow_log(dir / "log", ring, 100).value());
  CHECK(ring.read(0, 10).value().data == "abc");
}

TEST_CASE("a log that is no regular file is not read", "[console]") {
  test::TempDir dir;
  std::filesystem::create_directory(dir / "log");
  std::filesystem::create_symlink("/etc/passwd", dir / "log2");
  auto ring = ConsoleRing::open(dir / "ring").value();
  CHECK(follow_log(dir / "log", ring, 100).ok());
  CHECK(follow_log(dir / "log2", ring, 100).ok());
  CHECK(ring.end() == 0);
}

}  // namespace
}  // namespace reeve::agent
