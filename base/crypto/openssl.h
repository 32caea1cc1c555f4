// base/crypto/openssl.h - owning pointers and conversions around OpenSSL, for the .cpp files of
// this folder.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/status.h"

namespace reeve::crypto {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;
using Request = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;

inline constexpr std::size_t kMaxPem = 64u << 10;

/// What OpenSSL says about its last failure; clears its queue.
std::string last_openssl_error();
/// Internal/CRYPTO_FAILED: a failure that is not the input's fault.
Error crypto_error(std::string_view what);

/// A view on `text` for reading, or an empty memory buffer for writing.
Bio read_bio(std::string_view text);
Bio write_bio();
std::string text_of(BIO* bio);

Result<Key> parse_key(std::string_view pem);
Result<Certificate> parse_x509(std::string_view pem);
Result<Request> parse_request(std::string_view pem);
Result<std::string> to_pem(X509* certificate);
Result<std::string> to_pem(EVP_PKEY* key);

std::string common_name_of(const X509_NAME* name);
/// SHA-256 of the SubjectPublicKeyInfo of `key`, hexadecimal.
Result<std::string> key_sha256_of(EVP_PKEY* key);
Result<std::string> fingerprint_of(X509* certificate);

}  // namespace reeve::crypto
