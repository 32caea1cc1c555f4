#include "base/file.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/text.h"
#include "tests/support/temp_dir.h"

namespace reeve {
namespace {

TEST_CASE("a durable write replaces the whole file and sets its mode", "[base]") {
  test::TempDir dir;
  REQUIRE(write_file_durably(dir / "a", "first", 0644).ok());
  REQUIRE(write_file_durably(dir / "a", "2nd", 0600).ok());
  CHECK(read_file(dir / "a").value() == "2nd");
  struct stat st {};
  REQUIRE(::stat((dir / "a").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  CHECK_FALSE(std::filesystem::exists(dir / "a.new"));
}

TEST_CASE("a full disk is named as such", "[base]") {
  const auto full = open_file("/dev/full", O_WRONLY);
  CHECK(write_all(full.value().get(), as_bytes("x")).error().reason() == "DISK_FULL");
}

TEST_CASE("reading refuses what is larger than its limit", "[base]") {
  test::TempDir dir;
  REQUIRE(write_file_durably(dir / "a", std::string(100, 'x')).ok());
  CHECK(read_file(dir / "a", 99).error().reason() == "FILE_TOO_LARGE");
  CHECK(read_file(dir / "a", 100).ok());
  CHECK(read_file(dir / "b").error().reason() == "FILE_NOT_FOUND");
}

TEST_CASE("a read beyond the end says the file is truncated", "[base]") {
  test::TempDir dir;
  REQUIRE(write_file_durably(dir / "a", "12345").ok());
  const auto fd = open_file(dir / "a", 0);
  std::array<std::byte, 4> out{};
  CHECK(read_at(fd.value().get(), 1, out).ok());
  CHECK(read_at(fd.value().get(), 2, out).error().reason() == "FILE_TRUNCATED");
}

TEST_CASE("removing what is absent succeeds", "[base]") {
  test::TempDir dir;
  CHECK(remove_file(dir / "a").ok());
  CHECK(remove_tree(dir / "b").ok());
  CHECK(make_dirs(dir / "c/d/e").ok());
  CHECK(make_dirs(dir / "c/d/e").ok());
  CHECK(remove_tree(dir / "c").ok());
  CHECK_FALSE(std::filesystem::exists(dir / "c"));
}

}  // namespace
}  // namespace reeve
