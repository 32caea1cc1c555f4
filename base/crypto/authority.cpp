#include "base/crypto/authority.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/crypto/openssl.h"
#include "base/crypto/x509.h"
#include "base/random.h"

namespace reeve::crypto {
namespace {

constexpr auto kBackdate = std::chrono::hours(1);

struct Draft {
  std::string common_name{};
  EVP_PKEY* subject_key = nullptr;
  X509* issuer = nullptr;  ///< null: self-signed
  EVP_PKEY* issuer_key = nullptr;
  WallTime now{};
  std::chrono::seconds lifetime{};
  std::vector<std::pair<int, std::string>> extensions{};  ///< NID, value in OpenSSL's syntax
};

bool set_time(ASN1_TIME* time, WallTime value) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(value).time_since_epoch().count();
  return ASN1_TIME_set(time, static_cast<time_t>(seconds)) != nullptr;
}

bool set_serial(X509* certificate) {
  std::array<std::byte, 16> bytes{};
  SystemRandom::instance().fill(bytes);
  bytes[0] &= std::byte{0x7f};  // a positive number
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                             static_cast<int>(bytes.size()), nullptr);
  const bool done = number != nullptr &&
                    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return done;
}

bool add_extensions(X509* certificate, X509* issuer, const Draft& draft) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  return std::ranges::all_of(draft.extensions, [&](const auto& entry) {
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, &context, entry.first, entry.second.c_str());
    const bool done = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
  });
}

Result<std::string> sign(const Draft& draft) {
  const Certificate certificate(X509_new());
  X509* raw = certificate.get();
  X509* issuer = draft.issuer == nullptr ? raw : draft.issuer;
  auto* subject = X509_get_subject_name(raw);
  const auto* text = reinterpret_cast<const unsigned char*>(draft.common_name.data());
  const bool done =
      X509_set_version(raw, X509_VERSION_3) == 1 && set_serial(raw) &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, text,
                                 static_cast<int>(draft.common_name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(raw, X509_get_subject_name(issuer)) == 1 &&
      set_time(X509_getm_notBefore(raw), draft.now - kBackdate) &&
      set_time(X509_getm_notAfter(raw), draft.now + draft.lifetime) &&
      X509_set_pubkey(raw, draft.subject_key) == 1 && add_extensions(raw, issuer, draft) &&
      X509_sign(raw, draft.issuer_key, EVP_sha256()) > 0;
  if (!done) return crypto_error("signing a certificate");
  return to_pem(raw);
}

bool is_ip(const std::string& name) {
  std::array<unsigned char, 16> address{};
  return inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

bool is_dns_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

/// "DNS:reeve-server,IP:10.0.0.1". The characters allowed leave no way to inject a second entry.
Result<std::string> alternative_names(const std::vector<std::string>& names) {
  std::string list = "DNS:" + std::string(kServerName);
  for (const auto& name : names) {
    if (is_ip(name))
      list += ",IP:" + name;
    else if (is_dns_name(name))
      list += ",DNS:" + name;
    else
      return Error{Code::InvalidArgument, "BAD_NAME", "'" + name + "' is no host name or address"};
  }
  return list;
}

}  // namespace

Result<Authority> Authority::make(std::string_view common_name, WallTime now) {
  auto key_pem = TRY(generate_key_pem());
  const auto key = TRY(parse_key(key_pem));
  auto certificate_pem =
      TRY(sign({.common_name = std::string(common_name),
                .subject_key = key.get(),
                .issuer_key = key.get(),
                .now = now,
                .lifetime = kCaLifetime,
                .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                               {NID_key_usage, "critical,keyCertSign,cRLSign"},
                               {NID_subject_key_identifier, "hash"}}}));
  return load(std::move(certificate_pem), std::move(key_pem));
}

Result<Authority> Authority::load(std::string certificate_pem, std::string key_pem) {
  const auto facts = TRY(parse_certificate(certificate_pem));
  if (!facts.is_ca)
    return Error{Code::InvalidArgument, "NOT_A_CA", "certificate is not that of an authority"};
  TRY(check_key_matches(certificate_pem, key_pem));
  return Authority(std::move(certificate_pem), std::move(key_pem), facts.fingerprint);
}

Result<std::string> Authority::issue_server(std::string_view key_pem,
                                            const std::vector<std::string>& names, WallTime now,
                                            std::chrono::seconds lifetime) const {
  const auto alternatives = TRY(alternative_names(names));
  const auto subject_key = TRY(parse_key(key_pem));
  const auto issuer = TRY(parse_x509(certificate_pem_));
  const auto issuer_key = TRY(parse_key(key_pem_));
  return sign({.common_name = std::string(kServerName),
               .subject_key = subject_key.get(),
               .issuer = issuer.get(),
               .issuer_key = issuer_key.get(),
               .now = now,
               .lifetime = lifetime,
               .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                              {NID_key_usage, "critical,digitalSignature"},
                              {NID_ext_key_usage, "serverAuth"},
                              {NID_subject_alt_name, alternatives},
                              {NID_authority_key_identifier, "keyid"}}});
}

Result<std::string> Authority::issue_client(std::string_view csr_pem, std::string_view host_uid,
                                            WallTime now, std::chrono::seconds lifetime) const {
  TRY(parse_csr(csr_pem));
  const auto request = TRY(parse_request(csr_pem));
  const auto issuer = TRY(parse_x509(certificate_pem_));
  const auto issuer_key = TRY(parse_key(key_pem_));
  return sign({.common_name = std::string(host_uid),
               .subject_key = X509_REQ_get0_pubkey(request.get()),
               .issuer = issuer.get(),
               .issuer_key = issuer_key.get(),
               .now = now,
               .lifetime = lifetime,
               .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                              {NID_key_usage, "critical,digitalSignature"},
                              {NID_ext_key_usage, "clientAuth"},
                              {NID_authority_key_identifier, "keyid"}}});
}

}  // namespace reeve::crypto
