#include "cli/contexts.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace reeve::cli {
namespace {

TEST_CASE("contexts survive a round trip in a file only the user can read", "[cli]") {
  test::TempDir dir;
  const auto path = dir / "reeve/contexts.toml";
  Contexts contexts{.current = "lab",
                    .by_name = {{"lab", {"h:1", "se\"cret\\", "-----BEGIN\nX\n"}}}};
  REQUIRE(save_contexts(path, contexts).ok());
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  const auto again = load_contexts(path);
  REQUIRE(again.ok());
  CHECK(again.value().current == "lab");
  CHECK(again.value().by_name.at("lab").token == "se\"cret\\");
  CHECK(again.value().by_name.at("lab").ca_pem == "-----BEGIN\nX\n");
}

TEST_CASE("a file that others can read is refused with the remedy", "[cli]") {
  test::TempDir dir;
  const auto path = dir / "contexts.toml";
  REQUIRE(write_file_durably(path, "current = 'x'\n", 0644).ok());
  const auto error = load_contexts(path).error();
  CHECK(error.reason() == "CONTEXTS_EXPOSED");
  CHECK(error.remedy().find("chmod 600") != std::string::npos);
}

TEST_CASE("a damaged file is an error, an absent one is no contexts", "[cli]") {
  test::TempDir dir;
  REQUIRE(write_file_durably(dir / "bad", "current = [").ok());
  CHECK(load_contexts(dir / "bad").error().reason() == "BAD_CONTEXTS");
  CHECK(load_contexts(dir / "absent").value().by_name.empty());
  CHECK(choose_context({}, "").error().reason() == "NOT_LOGGED_IN");
}

}  // namespace
}  // namespace reeve::cli
