#include "base/log.h"

#include <vector>

#include <catch2/catch.hpp>

namespace reeve {
namespace {

TEST_CASE("a line is one JSON object with typed, escaped fields", "[base]") {
  std::vector<std::string> lines;
  log::set_sink([&](std::string_view line) { lines.emplace_back(line); });
  log::info("vm started", {{"vm", "a\"b\n"}, {"cpus", 2}, {"forced", true}, {"bad", "\xff"}});
  log::debug("not written");
  log::set_sink({});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find(
            R"("message":"vm started","vm":"a\"b\u000a","cpus":2,"forced":true,"bad":"\ufffd"})") !=
        std::string::npos);
}

TEST_CASE("what a guest can trigger is limited", "[base]") {
  int lines = 0;
  log::set_sink([&](std::string_view) { ++lines; });
  for (int i = 0; i < 1000; ++i) log::guest_warning("bad chain");
  log::set_sink({});
  CHECK(lines <= 22);  // two windows of ten and their notes
}

}  // namespace
}  // namespace reeve
