#include <catch2/catch.hpp>

#include "base/crypto/authority.h"
#include "base/crypto/enroll_token.h"
#include "base/crypto/sha256.h"
#include "base/crypto/x509.h"
#include "base/text.h"

namespace reeve::crypto {
namespace {

constexpr auto kNow = WallTime(std::chrono::seconds(1'800'000'000));

Authority make_authority() {
  return Authority::make("Test CA", kNow).value();
}
std::string make_key() {
  return generate_key_pem().value();
}

TEST_CASE("sha256 gives the published digests, at once and in pieces", "[crypto]") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  for (int round = 0; round < 2; ++round) {
    hash.update(as_bytes("a"));
    hash.update(as_bytes(""));
    hash.update(as_bytes("bc"));
    CHECK(hash.finish_hex() == sha256_hex("abc"));
  }
}

TEST_CASE("constant-time comparison tells equal from different", "[crypto]") {
  CHECK(constant_time_equal("", ""));
  CHECK(constant_time_equal("secret", "secret"));
  CHECK_FALSE(constant_time_equal("secret", "secreT"));
  CHECK_FALSE(constant_time_equal("secret", "secre"));
}

TEST_CASE("a key, its request and its certificates have one identity", "[crypto]") {
  const auto ca = make_authority();
  const auto key = make_key();
  const auto id = key_sha256_of_key(key).value();
  const auto csr = make_csr_pem(key, "web-1").value();
  const auto facts = parse_csr(csr).value();
  CHECK(facts.common_name == "web-1");
  CHECK(facts.key_sha256 == id);

  const auto uid = std::string("3f0c0000-0000-4000-8000-000000000001");
  const auto first = parse_certificate(ca.issue_client(csr, uid, kNow).value()).value();
  const auto second = parse_certificate(ca.issue_client(csr, uid, kNow).value()).value();
  CHECK(first.key_sha256 == id);
  CHECK(second.key_sha256 == id);
  CHECK(first.fingerprint != second.fingerprint);
  CHECK(first.common_name == uid);
  CHECK(first.issuer == "Test CA");
  CHECK_FALSE(first.is_ca);
  CHECK(first.begin == kNow - std::chrono::hours(1));
  CHECK(first.end == kNow + std::chrono::days(30));
  CHECK(key_sha256_of_key(make_key()).value() != id);
}

TEST_CASE("an authority lives ten years and can be loaded again", "[crypto]") {
  const auto ca = make_authority();
  const auto facts = parse_certificate(ca.certificate_pem()).value();
  CHECK(facts.is_ca);
  CHECK(facts.end == kNow + std::chrono::days(3650));
  CHECK(facts.fingerprint == ca.fingerprint());
  const auto again = Authority::load(ca.certificate_pem(), ca.key_pem()).value();
  CHECK(again.fingerprint() == ca.fingerprint());

  const auto other = make_authority();
  CHECK(Authority::load(ca.certificate_pem(), other.key_pem()).error().reason() == "KEY_MISMATCH");
  const auto key = make_key();
  const auto leaf = ca.issue_server(key, {}, kNow).value();
  CHECK(Authority::load(leaf, key).error().reason() == "NOT_A_CA");
}

TEST_CASE("a server certificate carries its names and the pinned one", "[crypto]") {
  const auto ca = make_authority();
  const auto key = make_key();
  const auto pem = ca.issue_server(key, {"127.0.0.1", "::1", "web.example"}, kNow).value();
  const auto facts = parse_certificate(pem).value();
  CHECK(facts.names == std::vector<std::string>{"reeve-server", "127.0.0.1", "::1", "web.example"});
  CHECK(check_signed_by(pem, ca.certificate_pem()).ok());
  CHECK(check_signed_by(pem, make_authority().certificate_pem()).error().reason() ==
        "NOT_SIGNED_BY_CA");
  CHECK(check_key_matches(pem, key).ok());
  CHECK(check_key_matches(pem, make_key()).error().reason() == "KEY_MISMATCH");
  for (const auto* name : {"", "a,DNS:evil", "a b", "a\n", "\xff"}) {
    CAPTURE(name);
    CHECK(ca.issue_server(key, {name}, kNow).error().reason() == "BAD_NAME");
  }
}

TEST_CASE("a request with a broken signature is refused", "[crypto]") {
  const auto csr = make_csr_pem(make_key(), "web-1").value();
  // A request whose last signature bytes differ: still DER, not signed by its key.
  auto lines = csr;
  const auto end = lines.rfind("-----END");
  const auto at = lines.find_last_not_of("=\n", end - 1) - 2;
  lines[at] = lines[at] == 'A' ? 'B' : 'A';
  CHECK(parse_csr(lines).error().reason() == "BAD_CSR");

  // A certificate is no request.
  CHECK(parse_csr(make_authority().certificate_pem()).error().reason() == "BAD_CSR");
}

TEST_CASE("PEM cut at every byte is an error and nothing worse", "[crypto]") {
  const auto ca = make_authority();
  const auto key = make_key();
  const auto csr = make_csr_pem(key, "web-1").value();
  const auto leaf = ca.issue_server(key, {"127.0.0.1"}, kNow).value();
  for (std::size_t n = 0; n + 2 < csr.size(); ++n) REQUIRE_FALSE(parse_csr(csr.substr(0, n)).ok());
  for (std::size_t n = 0; n + 2 < leaf.size(); ++n)
    REQUIRE_FALSE(parse_certificate(leaf.substr(0, n)).ok());
  for (std::size_t n = 0; n + 2 < key.size(); ++n)
    REQUIRE_FALSE(key_sha256_of_key(key.substr(0, n)).ok());
  for (std::size_t n = leaf.size() + 30; n + 2 < leaf.size() + ca.certificate_pem().size(); n += 7)
    REQUIRE_FALSE(parse_chain((leaf + ca.certificate_pem()).substr(0, n)).ok());
}

/// The inside of a PEM text with one byte of the DER changed.
std::string with_changed_byte(const std::string& pem, std::size_t position, unsigned flip) {
  const auto begin = pem.find('\n') + 1;
  const auto end = pem.rfind("-----END");
  std::string body;
  for (char c : pem.substr(begin, end - begin)) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
    if (c != '\n' && c != '=') body += c;
  }
  auto der = from_base64url(body).value();
  if (position < der.size()) der[position] ^= static_cast<std::byte>(flip);
  auto text = to_base64url(der);
  for (auto& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (text.size() % 4 != 0) text += '=';
  std::string out = pem.substr(0, begin);
  for (std::size_t i = 0; i < text.size(); i += 64) out += text.substr(i, 64) + "\n";
  return out + pem.substr(end);
}

TEST_CASE("DER with any byte changed never passes as a signed request", "[crypto]") {
  const auto csr = make_csr_pem(make_key(), "web-1").value();
  REQUIRE(parse_csr(with_changed_byte(csr, 100'000, 1)).ok());
  for (std::size_t n = 0; n < 220; ++n) {
    for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
      const auto bad = parse_csr(with_changed_byte(csr, n, flip));
      if (with_changed_byte(csr, n, flip) == csr) continue;
      CAPTURE(n, flip);
      REQUIRE_FALSE(bad.ok());
    }
  }
}

TEST_CASE("certificates with any byte changed are read or refused, and never signed", "[crypto]") {
  const auto ca = make_authority();
  const auto leaf = ca.issue_server(make_key(), {"127.0.0.1"}, kNow).value();
  for (std::size_t n = 0; n < 500; ++n) {
    const auto changed = with_changed_byte(leaf, n, 0x41);
    if (changed == leaf) continue;
    static_cast<void>(parse_certificate(changed).ok());
    CAPTURE(n);
    REQUIRE_FALSE(check_signed_by(changed, ca.certificate_pem()).ok());
  }
}

TEST_CASE("hostile text in place of PEM is refused", "[crypto]") {
  const std::string long_text(200'000, 'A');
  const std::string encrypted =
      "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
      "-----END EC PRIVATE KEY-----\n";
  for (const auto& text : {std::string(), std::string(1, '\0'), long_text, encrypted,
                           "-----BEGIN CERTIFICATE-----\n" + long_text}) {
    CHECK(parse_certificate(text).error().reason() == "BAD_CERTIFICATE");
    CHECK(parse_chain(text).error().reason() == "BAD_CERTIFICATE");
    CHECK(parse_csr(text).error().reason() == "BAD_CSR");
    CHECK(key_sha256_of_key(text).error().reason() == "BAD_KEY");
  }
}

TEST_CASE("an enrol token carries the CA's fingerprint and a secret, or is refused", "[crypto]") {
  SeededRandom random(1);
  const auto pin = sha256_hex("ca");
  const auto token = make_enroll_token(pin, random);
  const auto parts = parse_enroll_token(token).value();
  CHECK(parts.ca_fingerprint == pin);
  CHECK(parts.secret.size() == 64);
  CHECK(make_enroll_token(pin, random) != token);
  for (std::size_t n = 0; n < token.size(); ++n)
    REQUIRE(parse_enroll_token(token.substr(0, n)).error().reason() == "BAD_ENROLL_TOKEN");
  for (const auto& bad : {token + "A", "x" + token, token + std::string(1000, 'A')})
    CHECK(parse_enroll_token(bad).error().message().find(bad) == std::string::npos);
}

}  // namespace
}  // namespace reeve::crypto
