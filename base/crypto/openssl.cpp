#include "base/crypto/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/check.h"
#include "base/crypto/sha256.h"
#include "base/text.h"

namespace reeve::crypto {
namespace {

// Keys are never encrypted with a passphrase here; without this OpenSSL would ask on the terminal.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

Error bad(Reason reason, std::string_view what) {
  return Error{Code::InvalidArgument, reason, std::string(what) + ": " + last_openssl_error()};
}

std::string sha256_of_der(unsigned char* der, int length) {
  return to_hex(sha256(std::as_bytes(std::span(der, static_cast<std::size_t>(length)))));
}

}  // namespace

std::string last_openssl_error() {
  const auto code = ERR_peek_last_error();
  ERR_clear_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? "not valid" : text;
}

Error crypto_error(std::string_view what) {
  return Error{Code::Internal, "CRYPTO_FAILED", std::string(what) + ": " + last_openssl_error()};
}

Bio read_bio(std::string_view text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  REEVE_CHECK(bio != nullptr);
  return bio;
}

Bio write_bio() {
  Bio bio(BIO_new(BIO_s_mem()));
  REEVE_CHECK(bio != nullptr);
  return bio;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size <= 0 ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

Result<Key> parse_key(std::string_view pem) {
  if (pem.size() > kMaxPem) return Error{Code::InvalidArgument, "BAD_KEY", "private key: too long"};
  Key key(PEM_read_bio_PrivateKey(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
  if (!key) return bad("BAD_KEY", "private key");
  return key;
}

Result<Certificate> parse_x509(std::string_view pem) {
  if (pem.size() > kMaxPem)
    return Error{Code::InvalidArgument, "BAD_CERTIFICATE", "certificate: too long"};
  Certificate certificate(PEM_read_bio_X509(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
  if (!certificate) return bad("BAD_CERTIFICATE", "certificate");
  return certificate;
}

Result<Request> parse_request(std::string_view pem) {
  if (pem.size() > kMaxPem)
    return Error{Code::InvalidArgument, "BAD_CSR", "certificate request: too long"};
  Request request(PEM_read_bio_X509_REQ(read_bio(pem).get(), nullptr, no_passphrase, nullptr));
  if (!request) return bad("BAD_CSR", "certificate request");
  return request;
}

Result<std::string> to_pem(X509* certificate) {
  auto bio = write_bio();
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return crypto_error("writing certificate");
  return text_of(bio.get());
}

Result<std::string> to_pem(EVP_PKEY* key) {
  auto bio = write_bio();
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return crypto_error("writing private key");
  return text_of(bio.get());
}

std::string common_name_of(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* utf8 = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (length < 0) {
    ERR_clear_error();
    return {};
  }
  std::string text(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(length));
  OPENSSL_free(utf8);
  return text;
}

Result<std::string> key_sha256_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  if (length <= 0) return crypto_error("encoding public key");
  auto hash = sha256_of_der(der, length);
  OPENSSL_free(der);
  return hash;
}

Result<std::string> fingerprint_of(X509* certificate) {
  unsigned char* der = nullptr;
  const int length = i2d_X509(certificate, &der);
  if (length <= 0) return crypto_error("encoding certificate");
  auto hash = sha256_of_der(der, length);
  OPENSSL_free(der);
  return hash;
}

}  // namespace reeve::crypto
