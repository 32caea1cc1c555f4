#include "agent/console/ring.h"

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/random.h"
#include "tests/support/temp_dir.h"

namespace reeve::agent {
namespace {

constexpr std::uint64_t kSmall = 100;

TEST_CASE("a ring keeps the last bytes under their offsets", "[console]") {
  test::TempDir dir;
  auto ring = ConsoleRing::open(dir / "ring", kSmall);
  REQUIRE(ring.ok());
  SeededRandom random(1);
  std::string all;
  for (int i = 0; i < 500; ++i) {
    std::string piece(random.below(260), static_cast<char>('a' + i % 26));
    REQUIRE(ring.value().append(piece, {.inode = 1, .offset = all.size() + piece.size()}).ok());
    all += piece;
    const auto held = ring.value().read(-1, 1000).value();
    const auto kept = std::min<std::size_t>(all.size(), kSmall);
    REQUIRE(held.offset == all.size() - kept);
    REQUIRE(held.data == all.substr(all.size() - kept));
    REQUIRE(held.lost == 0);
  }
  CHECK(ring.value().end() == all.size());
}

TEST_CASE("a reader that was away longer than the ring is told what it lost", "[console]") {
  test::TempDir dir;
  auto ring = ConsoleRing::open(dir / "ring", kSmall).value();
  REQUIRE(ring.append(std::string(250, 'x'), {}).ok());
  const auto chunk = ring.read(30, 10).value();
  CHECK(chunk.lost == 120);
  CHECK(chunk.offset == 150);
  CHECK(chunk.data.size() == 10);
  CHECK(ring.read(250, 10).value().data.empty());
  CHECK(ring.read(9999, 10).value().data.empty());
}

TEST_CASE("a ring opened again goes on where it was", "[console]") {
  test::TempDir dir;
  REQUIRE(ConsoleRing::open(dir / "ring", kSmall)
              .value()
              .append("hello", {.inode = 7, .offset = 5})
              .ok());
  auto again = ConsoleRing::open(dir / "ring", kSmall).value();
  CHECK(again.read(0, 10).value().data == "hello");
  CHECK(again.log_position().inode == 7);
  CHECK(again.log_position().offset == 5);
}

TEST_CASE("a torn record falls back to the one before, a damaged file begins anew", "[console]") {
  test::TempDir dir;
  {
    auto ring = ConsoleRing::open(dir / "ring", kSmall).value();
    REQUIRE(ring.append("one", {.inode = 1, .offset = 3}).ok());  // record 1
    REQUIRE(ring.append("two", {.inode = 1, .offset = 6}).ok());  // record 0
  }
  const auto damage = [&](std::uint64_t at) {
    const auto fd = open_file(dir / "ring", 2).value();
    const std::byte wrong[1]{std::byte{0xff}};
    REQUIRE(write_at(fd.get(), at + 24, wrong).ok());
  };
  damage(0);
  CHECK(ConsoleRing::open(dir / "ring", kSmall).value().end() == 3);
  damage(64);
  CHECK(ConsoleRing::open(dir / "ring", kSmall).value().end() == 0);
}

}  // namespace
}  // namespace reeve::agent
