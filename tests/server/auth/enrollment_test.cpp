#include "server/auth/enrollment.h"

#include <catch2/catch.hpp>

#include "base/crypto/enroll_token.h"
#include "base/crypto/x509.h"
#include "base/file.h"
#include "db/repo/host_repo.h"
#include "tests/server/auth/auth_fixture.h"

namespace reeve::server::test {
namespace {

std::string fresh_key() {
  return crypto::generate_key_pem().value();
}

struct EnrollFixture : AuthFixture {
  crypto::Authority ca = crypto::Authority::make("CA", clock.now).value();
  Enrollment enrollment{{.authority = &ca,
                         .readers = &store->readers(),
                         .writer = &writer,
                         .clock = &clock,
                         .random = &SystemRandom::instance()}};
  Caller nobody{.actor = "anonymous", .peer = "192.0.2.9", .permissions = {}};
  std::string key = fresh_key();

  EnrollFixture() { enrollment.announce("server:7443", ":7444"); }

  Result<v1::EnrollToken> make_token(const std::string& name, std::int64_t seconds) {
    v1::CreateEnrollTokenRequest request;
    request.mutable_lifetime()->set_seconds(seconds);
    request.set_host_display_name(name);
    return await<v1::EnrollToken>(
        [&](auto reply) { enrollment.create_token(admin, request, std::move(reply)); });
  }
  std::string token(const std::string& name = "") { return make_token(name, 60).value().token(); }
  Result<agent::v1::EnrollResponse> enroll(const std::string& secret, const std::string& with_key,
                                           const std::string& hostname = "web-1") {
    agent::v1::EnrollRequest request;
    request.set_token(secret);
    request.set_csr_pem(crypto::make_csr_pem(with_key, "agent").value());
    request.set_hostname(hostname);
    return await<agent::v1::EnrollResponse>(
        [&](auto reply) { enrollment.enroll(nobody, request, std::move(reply)); });
  }
  Result<agent::v1::RenewResponse> renew(const std::string& with_key) {
    agent::v1::RenewRequest request;
    request.set_csr_pem(crypto::make_csr_pem(with_key, "agent").value());
    return await<agent::v1::RenewResponse>(
        [&](auto reply) { enrollment.renew(nobody, request, std::move(reply)); });
  }
  db::Host host(const std::string& uid) {
    return store->readers()
        .read([&](db::ReadTransaction& tx) { return db::HostReader(tx).get(uid); })
        .value();
  }
};

TEST_CASE_METHOD(EnrollFixture, "no host is let in and no token made without its audit row",
                 "[auth]") {
  const auto first = token("web");
  const auto second = token();
  const auto enrolled = enroll(first, key);
  REQUIRE(enrolled.ok());
  const auto rows = audit_rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].method == "HostService/CreateEnrollToken");
  CHECK(rows[0].actor == admin.actor);
  CHECK(rows[0].summary == "for 60 s, host web");
  CHECK(rows[1].summary == "for 60 s");
  CHECK(rows[2].method == "EnrollmentService/Enroll");
  CHECK(rows[2].actor == nobody.actor);
  CHECK(rows[2].resource == "hosts/" + enrolled.value().host_uid());
  refuse_audit_rows();
  const auto other = fresh_key();
  CHECK_FALSE(make_token("", 60).ok());
  CHECK_FALSE(enroll(second, other).ok());
  CHECK(audit_rows().size() == 3);
  const auto hosts = store->readers().read([](db::ReadTransaction& tx) {
    return db::HostReader(tx).list({}, db::ObjectOrder::Name, {.limit = 10});
  });
  CHECK(hosts.value().size() == 1);
}

TEST_CASE_METHOD(EnrollFixture, "a token enrols one host, whose key is its identity", "[auth]") {
  const auto secret = token();
  CHECK(crypto::parse_enroll_token(secret).value().ca_fingerprint == ca.fingerprint());
  const auto joined = enroll(secret, key).value();
  CHECK(joined.ca_pem() == ca.certificate_pem());
  CHECK(joined.link_address() == ":7444");
  const auto facts = crypto::parse_certificate(joined.certificate_pem()).value();
  CHECK(facts.common_name == joined.host_uid());
  CHECK(crypto::check_signed_by(joined.certificate_pem(), ca.certificate_pem()).ok());
  const auto row = host(joined.host_uid());
  CHECK(row.cert_key_sha256 == facts.key_sha256);
  CHECK(row.name == "web-1");
  CHECK(reason_of(enroll(secret, fresh_key())) == "ENROLL_TOKEN_INVALID");
}

TEST_CASE_METHOD(EnrollFixture, "a lost reply can be asked for again with the same key", "[auth]") {
  const auto secret = token();
  const auto first = enroll(secret, key).value();
  CHECK(enroll(secret, key).value().host_uid() == first.host_uid());
  CHECK(reason_of(enroll(token(), key)) == "HOST_KEY_KNOWN");
}

TEST_CASE_METHOD(EnrollFixture, "unknown, malformed and expired tokens look the same", "[auth]") {
  const auto expired = make_token("", 1).value().token();
  clock.now += std::chrono::seconds(2);
  const auto foreign = crypto::make_enroll_token(ca.fingerprint(), SystemRandom::instance());
  for (const auto& bad : {expired, foreign, std::string("reeve-enroll.x"), std::string()}) {
    const auto refused = enroll(bad, key);
    REQUIRE(reason_of(refused) == "ENROLL_TOKEN_INVALID");
    CHECK(refused.error().code() == Code::Unauthenticated);
  }
  for (int i = 0; i < 6; ++i) CHECK_FALSE(enroll(foreign, key).ok());
  CHECK(reason_of(enroll(token(), key)) == "TOO_MANY_ATTEMPTS");
  clock.now += std::chrono::minutes(1);
  CHECK(enroll(token(), key).ok());
}

TEST_CASE_METHOD(EnrollFixture, "host names are the token's or the host's own, and unique",
                 "[auth]") {
  CHECK(host(enroll(token("chosen"), key).value().host_uid()).name == "chosen");
  for (const auto* expected : {"web", "web-2", "web-3"})
    CHECK(host(enroll(token(), fresh_key(), "web").value().host_uid()).name == expected);
}

TEST_CASE_METHOD(EnrollFixture, "a token asks for no name that its host cannot have", "[auth]") {
  const auto uid = enroll(token("lab1"), key).value().host_uid();
  const auto taken = make_token("lab1", 60);
  REQUIRE(reason_of(taken) == "NAME_TAKEN");
  CHECK(taken.error().code() == Code::AlreadyExists);
  CHECK(taken.error().resource() == "hosts/" + uid);
  for (const auto* bad : {"bad name", "-lab",
                          "l\xc3\xa4"
                          "b",
                          "a/b"}) {
    const auto refused = make_token(bad, 60);
    CAPTURE(bad);
    REQUIRE(reason_of(refused) == "BAD_FIELD");
    CHECK(refused.error().message().find("1 to 63 letters, digits") != std::string::npos);
  }
  // Two tokens may wait for one name; the second of their hosts gets it with a number.
  const auto first = token("twin");
  const auto second = token("twin");
  CHECK(host(enroll(first, fresh_key()).value().host_uid()).name == "twin");
  CHECK(host(enroll(second, fresh_key()).value().host_uid()).name == "twin-2");
}

TEST_CASE_METHOD(EnrollFixture, "an enrolled key renews, any other does not", "[auth]") {
  const auto joined = enroll(token(), key).value();
  clock.now += std::chrono::days(300);  // long expired: the key is what counts
  const auto renewed = renew(key).value();
  const auto facts = crypto::parse_certificate(renewed.certificate_pem()).value();
  CHECK(facts.common_name == joined.host_uid());
  CHECK(facts.end == clock.now + std::chrono::days(30));
  const auto refused = renew(fresh_key());
  REQUIRE(reason_of(refused) == "HOST_KEY_UNKNOWN");
  CHECK(refused.error().code() == Code::PermissionDenied);
}

TEST_CASE_METHOD(EnrollFixture, "bad enrolment requests are refused by name", "[auth]") {
  agent::v1::EnrollRequest request;
  request.set_token(token());
  request.set_hostname("web");
  request.set_csr_pem("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n");
  CHECK(reason_of(await<agent::v1::EnrollResponse>([&](auto reply) {
          enrollment.enroll(nobody, request, std::move(reply));
        })) == "BAD_CSR");
  CHECK(reason_of(enroll(token(), key, "")) == "BAD_FIELD");
  CHECK(reason_of(enroll(token(), key, std::string(300, 'a'))) == "BAD_FIELD");
  for (const std::int64_t seconds : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{8 * 86400}})
    CHECK(reason_of(make_token("", seconds)) == "BAD_FIELD");
  CHECK(reason_of(make_token(std::string(64, 'a'), 60)) == "BAD_FIELD");
}

TEST_CASE_METHOD(EnrollFixture, "the enrol token's text is not in the database", "[auth]") {
  const auto secret = token();
  writer.stop();
  for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
    if (entry.is_regular_file())
      CHECK(read_file(entry.path()).value().find(secret.substr(60)) == std::string::npos);
}

}  // namespace
}  // namespace reeve::server::test
