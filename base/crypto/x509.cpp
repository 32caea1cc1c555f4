#include "base/crypto/x509.h"

#include <array>
#include <ctime>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/crypto/openssl.h"

namespace reeve::crypto {
namespace {

constexpr std::size_t kMaxChain = 8;

Result<WallTime> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1)
    return Error{Code::InvalidArgument, "BAD_CERTIFICATE", "certificate: date is not valid"};
  return WallTime(std::chrono::seconds(timegm(&parts)));
}

std::string text_of_name(const GENERAL_NAME* name) {
  if (name->type == GEN_DNS)
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
            static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName))};
  if (name->type != GEN_IPADD) return {};
  const int length = ASN1_STRING_length(name->d.iPAddress);
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = length == 4 ? AF_INET : length == 16 ? AF_INET6 : AF_UNSPEC;
  if (family == AF_UNSPEC) return {};
  inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), text.data(), text.size());
  return text.data();
}

std::vector<std::string> names_of(X509* certificate) {
  std::vector<std::string> names;
  auto* list = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    auto text = text_of_name(sk_GENERAL_NAME_value(list, i));
    if (!text.empty()) names.push_back(std::move(text));
  }
  GENERAL_NAMES_free(list);
  return names;
}

Result<CertificateFacts> facts_of(X509* certificate) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) {
    return Error{Code::InvalidArgument, "BAD_CERTIFICATE",
                 "certificate: public key: " + last_openssl_error()};
  }
  CertificateFacts facts;
  facts.common_name = common_name_of(X509_get_subject_name(certificate));
  facts.issuer = common_name_of(X509_get_issuer_name(certificate));
  facts.key_sha256 = TRY(key_sha256_of(key));
  facts.fingerprint = TRY(fingerprint_of(certificate));
  facts.names = names_of(certificate);
  facts.begin = TRY(time_of(X509_get0_notBefore(certificate)));
  facts.end = TRY(time_of(X509_get0_notAfter(certificate)));
  facts.is_ca = X509_check_ca(certificate) == 1;
  ERR_clear_error();
  return facts;
}

bool is_p256(EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t length = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) == 1 &&
         std::string_view(group.data(), length) == "prime256v1";
}

}  // namespace

Result<std::string> generate_key_pem() {
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return crypto_error("making a key");
  return to_pem(key.get());
}

Result<std::string> key_sha256_of_key(std::string_view key_pem) {
  const auto key = TRY(parse_key(key_pem));
  return key_sha256_of(key.get());
}

Result<std::string> make_csr_pem(std::string_view key_pem, std::string_view common_name) {
  const auto key = TRY(parse_key(key_pem));
  const Request request(X509_REQ_new());
  auto* name = X509_REQ_get_subject_name(request.get());
  const auto* text = reinterpret_cast<const unsigned char*>(common_name.data());
  if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text,
                                 static_cast<int>(common_name.size()), -1, 0) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0)
    return crypto_error("making a certificate request");
  auto bio = write_bio();
  if (PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1)
    return crypto_error("writing a certificate request");
  return text_of(bio.get());
}

Result<RequestFacts> parse_csr(std::string_view csr_pem) {
  const auto request = TRY(parse_request(csr_pem));
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr || !is_p256(key)) {
    ERR_clear_error();
    return Error{Code::InvalidArgument, "BAD_CSR", "certificate request: key is not a P-256 key"};
  }
  if (X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return Error{Code::InvalidArgument, "BAD_CSR", "certificate request: signature does not match"};
  }
  return RequestFacts{.common_name = common_name_of(X509_REQ_get_subject_name(request.get())),
                      .key_sha256 = TRY(key_sha256_of(key))};
}

Result<CertificateFacts> parse_certificate(std::string_view pem) {
  const auto certificate = TRY(parse_x509(pem));
  return facts_of(certificate.get());
}

Result<std::vector<CertificateFacts>> parse_chain(std::string_view pem) {
  if (pem.size() > kMaxPem)
    return Error{Code::InvalidArgument, "BAD_CERTIFICATE", "certificate chain: too long"};
  const auto bio = read_bio(pem);
  std::vector<CertificateFacts> chain;
  while (chain.size() < kMaxChain) {
    const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    chain.push_back(TRY(facts_of(certificate.get())));
  }
  const auto why = ERR_peek_last_error();
  const bool ended = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
  const auto text = last_openssl_error();
  if (chain.empty() || !ended)
    return Error{Code::InvalidArgument, "BAD_CERTIFICATE", "certificate chain: " + text};
  return chain;
}

Status check_signed_by(std::string_view pem, std::string_view ca_pem) {
  const auto certificate = TRY(parse_x509(pem));
  const auto ca = TRY(parse_x509(ca_pem));
  EVP_PKEY* key = X509_get0_pubkey(ca.get());
  const bool is_signed = key != nullptr && X509_verify(certificate.get(), key) == 1;
  ERR_clear_error();
  if (!is_signed)
    return Error{Code::Unauthenticated, "NOT_SIGNED_BY_CA", "certificate is not signed by this CA"};
  return {};
}

Status check_key_matches(std::string_view certificate_pem, std::string_view key_pem) {
  const auto certificate = TRY(parse_x509(certificate_pem));
  const auto key = TRY(parse_key(key_pem));
  const bool matches = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!matches)
    return Error{Code::InvalidArgument, "KEY_MISMATCH",
                 "certificate and key do not belong together"};
  return {};
}

}  // namespace reeve::crypto
