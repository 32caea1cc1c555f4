#include "server/auth/authority_files.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "base/crypto/x509.h"
#include "base/file.h"
#include "tests/server/auth/auth_fixture.h"

namespace reeve::server::test {
namespace {

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

TEST_CASE("the CA is made once and its key is for its owner alone", "[auth]") {
  const reeve::test::TempDir dir;
  const auto made = load_or_make_authority(dir.path(), kNow).value();
  CHECK(load_or_make_authority(dir.path(), kNow).value().fingerprint() == made.fingerprint());
  for (const auto* file : {"ca/ca.key", "ca/ca.pem"}) {
    struct stat facts {};
    REQUIRE(stat((dir / file).c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
  }
}

TEST_CASE("a CA without its key, or with a key others can read, stops the start", "[auth]") {
  const reeve::test::TempDir dir;
  REQUIRE(load_or_make_authority(dir.path(), kNow).ok());
  REQUIRE(chmod((dir / "ca/ca.key").c_str(), 0640) == 0);
  CHECK(reason_of(load_or_make_authority(dir.path(), kNow)) == "KEY_FILE_OPEN");
  REQUIRE(remove_file(dir / "ca/ca.key").ok());
  CHECK(reason_of(load_or_make_authority(dir.path(), kNow)) == "CA_INCOMPLETE");
}

TEST_CASE("a crash between the CA's key and certificate leaves nothing in the way", "[auth]") {
  const reeve::test::TempDir dir;
  REQUIRE(make_dirs(dir / "ca").ok());
  REQUIRE(write_file_durably(dir / "ca/ca.key", "half", 0600).ok());
  CHECK(load_or_make_authority(dir.path(), kNow).ok());
}

TEST_CASE("the server's certificate is renewed when it must be and its key stays", "[auth]") {
  const reeve::test::TempDir dir;
  const auto ca = load_or_make_authority(dir.path(), kNow).value();
  const auto ensure = [&](const std::vector<std::string>& names, WallTime now) {
    return ensure_server_certificate(ca, dir.path(), names, now).value();
  };
  const auto first = ensure({"127.0.0.1"}, kNow);
  CHECK(first.renewed);
  const auto key = read_file(first.key).value();
  CHECK_FALSE(ensure({"127.0.0.1"}, kNow + std::chrono::days(59)).renewed);
  CHECK(ensure({"127.0.0.1", "web"}, kNow).renewed);                           // other names
  CHECK(ensure({"127.0.0.1", "web"}, kNow + std::chrono::days(61)).renewed);   // a third left
  CHECK(ensure({"127.0.0.1", "web"}, kNow - std::chrono::days(400)).renewed);  // not valid yet
  REQUIRE(write_file_durably(first.chain, "damaged", 0600).ok());
  CHECK(ensure({"127.0.0.1", "web"}, kNow).renewed);
  CHECK(read_file(first.key).value() == key);
  const auto chain = crypto::parse_chain(read_file(first.chain).value()).value();
  REQUIRE(chain.size() == 2);
  CHECK(chain[1].fingerprint == ca.fingerprint());
}

TEST_CASE("a data folder that others may enter is refused with the remedy", "[auth]") {
  const reeve::test::TempDir dir;
  REQUIRE(chmod(dir.path().c_str(), 0755) == 0);
  const auto refused = check_private(dir.path());
  REQUIRE(reason_of(refused) == "DATA_DIR_OPEN");
  CHECK(refused.error().remedy().starts_with("chmod 700"));
  REQUIRE(chmod(dir.path().c_str(), 0700) == 0);
  CHECK(check_private(dir.path()).ok());
}

}  // namespace
}  // namespace reeve::server::test
