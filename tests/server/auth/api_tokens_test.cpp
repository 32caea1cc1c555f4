#include "server/auth/api_tokens.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/server/auth/auth_fixture.h"

namespace reeve::server::test {
namespace {

struct TokensFixture : AuthFixture {
  std::shared_ptr<ApiTokens> tokens = open();

  std::shared_ptr<ApiTokens> open() {
    return ApiTokens::create({.readers = &store->readers(),
                              .writer = &writer,
                              .clock = &clock,
                              .random = &SystemRandom::instance()})
        .value();
  }
  Result<v1::ApiToken> create(const std::string& name, v1::Role role, std::int64_t lifetime = 0) {
    v1::CreateApiTokenRequest request;
    request.mutable_token()->set_display_name(name);
    request.mutable_token()->set_role(role);
    if (lifetime != 0)
      request.mutable_token()->mutable_expire_time()->set_seconds(to_micros(clock.now) / 1'000'000 +
                                                                  lifetime);
    return await<v1::ApiToken>(
        [&](auto reply) { tokens->create_token(admin, request, std::move(reply)); });
  }
  Status revoke(const std::string& name) {
    v1::DeleteApiTokenRequest request;
    request.set_name(name);
    const auto done = await<v1::DeleteApiTokenResponse>(
        [&](auto reply) { tokens->revoke(admin, request, std::move(reply)); });
    return done.ok() ? Status() : Status(done.error());
  }
};

TEST_CASE_METHOD(TokensFixture, "when a token was last used is stored, once a minute at most",
                 "[auth]") {
  const auto secret = create("ci", v1::ROLE_VIEWER).value().secret();
  const auto last_use = [&](ApiTokens& known) { return known.list({}).value().tokens(0); };
  CHECK_FALSE(last_use(*tokens).has_last_use_time());
  const auto begin = to_micros(clock.now) / 1'000'000;
  const auto stored = [&] {
    tokens->save_uses();
    REQUIRE(create("flush" + std::to_string(to_micros(clock.now)), v1::ROLE_VIEWER).ok());
    return last_use(*open()).last_use_time().seconds();  // what a server that starts again sees
  };
  CHECK(tokens->authenticate(secret).ok());
  CHECK(stored() == begin);
  clock.now += std::chrono::seconds(59);
  CHECK(tokens->authenticate(secret).ok());
  CHECK(stored() == begin);
  clock.now += std::chrono::seconds(1);
  CHECK(tokens->authenticate(secret).ok());
  CHECK_FALSE(tokens->authenticate(secret + "x").ok());
  CHECK(last_use(*tokens).last_use_time().seconds() == begin + 60);
  CHECK(stored() == begin + 60);
}

TEST_CASE_METHOD(TokensFixture, "a token opens the API as its role until it is revoked", "[auth]") {
  const auto made = create("ci", v1::ROLE_OPERATOR).value();
  CHECK(made.secret().starts_with("reeve_"));
  const auto holder = tokens->authenticate(made.secret()).value();
  CHECK(holder.actor == made.name());
  CHECK(holder.role == v1::ROLE_OPERATOR);
  CHECK(open()->authenticate(made.secret()).ok());  // a server that starts again knows it

  std::string revoked;
  tokens->on_revoked([&](const std::string& actor) { revoked = actor; });
  CHECK(revoke(made.name()).ok());
  CHECK(reason_of(tokens->authenticate(made.secret())) == "TOKEN_UNKNOWN");
  CHECK(reason_of(open()->authenticate(made.secret())) == "TOKEN_UNKNOWN");
  CHECK(reason_of(revoke(made.name())) == "TOKEN_NOT_FOUND");
  writer.stop();
  CHECK(revoked == made.name());
}

TEST_CASE_METHOD(TokensFixture, "no token is made or revoked without its audit row", "[auth]") {
  const auto made = create("ci", v1::ROLE_OPERATOR).value();
  REQUIRE(revoke(made.name()).ok());
  const auto kept = create("kept", v1::ROLE_VIEWER).value();
  const auto rows = audit_rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].method == "ServerService/CreateApiToken");
  CHECK(rows[0].actor == admin.actor);
  CHECK(rows[0].peer == admin.peer);
  CHECK(rows[0].resource == made.name());
  CHECK(rows[0].summary == "token ci, role operator");
  CHECK(rows[1].method == "ServerService/DeleteApiToken");
  CHECK(rows[1].resource == made.name());
  refuse_audit_rows();
  CHECK_FALSE(create("second", v1::ROLE_VIEWER).ok());
  CHECK_FALSE(revoke(kept.name()).ok());
  CHECK(audit_rows().size() == 3);
  const auto after = open();  // as a server that starts again finds it
  CHECK(after->list({}).value().tokens_size() == 1);
  CHECK(after->authenticate(kept.secret()).ok());
}

TEST_CASE_METHOD(TokensFixture, "anything but the exact token is refused", "[auth]") {
  const auto secret = create("ci", v1::ROLE_VIEWER).value().secret();
  for (std::size_t n = 0; n < secret.size(); ++n) {
    REQUIRE(reason_of(tokens->authenticate(secret.substr(0, n))) == "TOKEN_UNKNOWN");
    auto changed = secret;
    changed[n] = changed[n] == 'a' ? 'b' : 'a';
    REQUIRE(reason_of(tokens->authenticate(changed)) == "TOKEN_UNKNOWN");
  }
  for (const auto& bad : {secret + "a", " " + secret, std::string(100'000, 'a'),
                          std::string("reeve_000000000000_"), std::string("reeve_")})
    CHECK(reason_of(tokens->authenticate(bad)) == "TOKEN_UNKNOWN");
}

TEST_CASE_METHOD(TokensFixture, "a token ends when it expires", "[auth]") {
  const auto secret = create("short", v1::ROLE_VIEWER, 10).value().secret();
  CHECK(tokens->authenticate(secret).ok());
  clock.now += std::chrono::seconds(10);
  CHECK(reason_of(tokens->authenticate(secret)) == "TOKEN_EXPIRED");
}

TEST_CASE_METHOD(TokensFixture, "a bad request makes no token", "[auth]") {
  for (const auto& name : {std::string(), std::string("a b"), std::string("grün"),
                           std::string(64, 'a'), std::string("a\n")})
    CHECK(reason_of(create(name, v1::ROLE_VIEWER)) == "BAD_FIELD");
  CHECK(reason_of(create("x", v1::ROLE_UNSPECIFIED)) == "BAD_FIELD");
  CHECK(reason_of(create("x", static_cast<v1::Role>(77))) == "BAD_FIELD");
  CHECK(reason_of(create("x", v1::ROLE_VIEWER, -1)) == "BAD_FIELD");
  REQUIRE(create("x", v1::ROLE_VIEWER).ok());
  CHECK(reason_of(create("x", v1::ROLE_VIEWER)) == "NAME_TAKEN");
  for (const auto* name : {"", "tokens/", "tokens/x", "vms/3f0c0000-0000-4000-8000-000000000001"})
    CHECK(reason_of(revoke(name)) == "BAD_FIELD");
  CHECK(tokens->list({}).value().tokens_size() == 1);
}

TEST_CASE_METHOD(TokensFixture, "token lists are paged by name and hold no secret", "[auth]") {
  for (const auto* name : {"c", "a", "b"}) REQUIRE(create(name, v1::ROLE_VIEWER).ok());
  v1::ListApiTokensRequest request;
  request.set_page_size(2);
  const auto first = tokens->list(request).value();
  REQUIRE(first.tokens_size() == 2);
  CHECK(first.tokens(0).display_name() == "a");
  CHECK(first.tokens(1).display_name() == "b");
  CHECK(first.tokens(0).secret().empty());
  request.set_page_token(first.next_page_token());
  const auto second = tokens->list(request).value();
  REQUIRE(second.tokens_size() == 1);
  CHECK(second.tokens(0).display_name() == "c");
  CHECK(second.next_page_token().empty());
}

TEST_CASE_METHOD(TokensFixture,
                 "the first start writes the administrator's token for its owner alone", "[auth]") {
  const auto file = dir / "admin.token";
  CHECK(tokens->ensure_first_token(file).value());
  struct stat facts {};
  REQUIRE(stat(file.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  auto secret = read_file(file).value();
  secret.pop_back();
  CHECK(tokens->authenticate(secret).value().role == v1::ROLE_ADMINISTRATOR);
  CHECK_FALSE(open()->ensure_first_token(file).value());
}

TEST_CASE_METHOD(TokensFixture, "no token's secret is in the database", "[auth]") {
  const auto secret = create("ci", v1::ROLE_VIEWER).value().secret();
  const auto proof = secret.substr(19);  // behind "reeve_", the id and '_'
  writer.stop();
  const auto files = disk.image();
  REQUIRE_FALSE(files.empty());
  for (const auto& [path, content] : files)
    CHECK(disk.bytes(path).find(proof) == std::string::npos);
}

TEST_CASE_METHOD(TokensFixture,
                 "a token whose revocation cannot be stored opens nothing and can be revoked again",
                 "[auth]") {
  const auto made = create("ci", v1::ROLE_OPERATOR).value();
  int ended = 0;
  tokens->on_revoked([&](const std::string& actor) { ended += actor == made.name() ? 1 : 0; });
  disk.set_capacity(1);
  const auto refused = revoke(made.name());
  CHECK(reason_of(refused) == "DISK_FULL");
  CHECK(refused.error().message().find("until the server restarts") != std::string::npos);
  CHECK(ended == 1);
  CHECK(reason_of(tokens->authenticate(made.secret())) == "TOKEN_UNKNOWN");
  CHECK(tokens->list({}).value().tokens_size() == 1);
  disk.clear_capacity();
  CHECK(revoke(made.name()).ok());
  CHECK(tokens->list({}).value().tokens_size() == 0);
  CHECK(reason_of(revoke(made.name())) == "TOKEN_NOT_FOUND");
  CHECK(reason_of(open()->authenticate(made.secret())) == "TOKEN_UNKNOWN");
}

}  // namespace
}  // namespace reeve::server::test
