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

TEST_CASE("what others plant where a durable write begins is neither written to nor kept",
          "[base]") {
  test::TempDir dir;
  REQUIRE(write_file_durably(dir / "victim", "untouched", 0644).ok());
  SECTION("a link to a file") {
    std::filesystem::create_symlink(dir / "victim", dir / "a.new");
  }
  SECTION("a link to nothing yet") {
    std::filesystem::create_symlink(dir / "not yet", dir / "a.new");
  }
  SECTION("another name of a file") {
    std::filesystem::create_hard_link(dir / "victim", dir / "a.new");
  }
  SECTION("a file that somebody has open") {
    const auto planted = open_file(dir / "a.new", O_RDWR | O_CREAT, 0666);
    REQUIRE(write_file_durably(dir / "a", "content", 0600).ok());
    struct stat st {};
    REQUIRE(::fstat(planted.value().get(), &st) == 0);
    CHECK(st.st_size == 0);
    CHECK(st.st_nlink == 0);
  }
  REQUIRE(write_file_durably(dir / "a", "content", 0600).ok());
  CHECK(read_file(dir / "a").value() == "content");
  CHECK_FALSE(std::filesystem::is_symlink(dir / "a"));
  CHECK(read_file(dir / "victim").value() == "untouched");
  CHECK_FALSE(std::filesystem::exists(dir / "not yet"));
  struct stat st {};
  REQUIRE(::stat((dir / "victim").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0644);
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
