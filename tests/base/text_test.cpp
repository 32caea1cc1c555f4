#include "base/text.h"

#include <catch2/catch.hpp>

#include "base/bytes.h"
#include "base/uuid.h"

namespace reeve {
namespace {

TEST_CASE("base64url and hex round trip and refuse anything else", "[base]") {
  SeededRandom random(1);
  for (std::size_t size = 0; size < 40; ++size) {
    std::vector<std::byte> bytes(size);
    random.fill(bytes);
    CHECK(from_base64url(to_base64url(bytes)).value() == bytes);
    CHECK(from_hex(to_hex(bytes)).value() == bytes);
  }
  for (const auto* bad : {"a", "a=", "a+bc", "AB"}) {
    CAPTURE(bad);
    CHECK(from_base64url(bad).error().reason() == "BAD_BASE64");
  }
  CHECK(from_hex("0g").error().reason() == "BAD_HEX");
  CHECK(from_hex("abc").error().reason() == "BAD_HEX");
}

TEST_CASE("UTF-8 is checked strictly", "[base]") {
  CHECK(is_utf8("grün €"));
  for (const auto* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_utf8(bad));
  }
}

TEST_CASE("globs match like a shell", "[base]") {
  CHECK(glob_match("web-*", "web-1"));
  CHECK(glob_match("*a*b", "xxaxxbxb"));
  CHECK(glob_match("w?b", "web"));
  CHECK_FALSE(glob_match("w?b", "wb"));
  CHECK_FALSE(glob_match("web", "web1"));
  CHECK(glob_match("*", ""));
}

TEST_CASE("a uuid has its shape and version", "[base]") {
  SeededRandom random(3);
  const auto id = new_uuid(random);
  CHECK(is_uuid(id));
  CHECK(id[14] == '4');
  CHECK_FALSE(is_uuid(id + "0"));
  CHECK_FALSE(is_uuid("../../../../../../../../etc/passwd--"));
}

TEST_CASE("byte order is honoured", "[base]") {
  std::array<std::byte, 4> raw{};
  store_be<std::uint32_t>(raw, 0x01020304);
  CHECK(raw[0] == std::byte{1});
  CHECK(load_be<std::uint32_t>(raw) == 0x01020304);
  CHECK(load_le<std::uint32_t>(raw) == 0x04030201);
}

TEST_CASE("splitting keeps empty parts", "[base]") {
  CHECK(split("a,,b", ',') == std::vector<std::string_view>{"a", "", "b"});
  CHECK(split("", ',') == std::vector<std::string_view>{""});
  CHECK(trim("  a b\n") == "a b");
  CHECK(join({"a", "b"}, ", ") == "a, b");
}

}  // namespace
}  // namespace reeve
