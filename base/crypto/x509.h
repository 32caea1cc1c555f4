// base/crypto/x509.h - keys, certificate requests and facts of certificates; everything passes as
// PEM text.
//
// Keys are ECDSA P-256. The identity of a peer is its key: `key_sha256`, the SHA-256 of the DER of
// its SubjectPublicKeyInfo, is the same for a key, its requests and all its certificates. All
// functions are thread-safe. Input may be hostile; more than 64 KiB is refused unread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace reeve::crypto {

/// A new private key (PKCS #8, not encrypted): keep it in a 0600 file.
Result<std::string> generate_key_pem();
/// InvalidArgument/BAD_KEY.
Result<std::string> key_sha256_of_key(std::string_view key_pem);

/// A certificate request with this common name, signed by the key. InvalidArgument/BAD_KEY.
Result<std::string> make_csr_pem(std::string_view key_pem, std::string_view common_name);

struct RequestFacts {
  std::string common_name{};
  std::string key_sha256{};  ///< lower-case hexadecimal
};
/// Facts of a request whose own signature is right: the sender holds the key.
/// InvalidArgument/BAD_CSR, also for keys other than P-256.
Result<RequestFacts> parse_csr(std::string_view csr_pem);

struct CertificateFacts {
  std::string common_name{};
  std::string issuer{};              ///< common name of the issuer
  std::string key_sha256{};          ///< lower-case hexadecimal
  std::string fingerprint{};         ///< SHA-256 of the DER, lower-case hexadecimal
  std::vector<std::string> names{};  ///< DNS names and IP addresses it is good for
  WallTime begin{};
  WallTime end{};
  bool is_ca = false;
};
/// The first certificate in `pem`. InvalidArgument/BAD_CERTIFICATE.
Result<CertificateFacts> parse_certificate(std::string_view pem);
/// All certificates in `pem`, at least one, at most 8. InvalidArgument/BAD_CERTIFICATE.
Result<std::vector<CertificateFacts>> parse_chain(std::string_view pem);

/// Whether the first certificate in `pem` is signed by the one in `ca_pem` (dates are not looked
/// at). Unauthenticated/NOT_SIGNED_BY_CA, InvalidArgument/BAD_CERTIFICATE.
Status check_signed_by(std::string_view pem, std::string_view ca_pem);
/// Whether certificate and private key belong together. InvalidArgument/KEY_MISMATCH.
Status check_key_matches(std::string_view certificate_pem, std::string_view key_pem);

}  // namespace reeve::crypto
