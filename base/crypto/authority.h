// base/crypto/authority.h - the server's certificate authority: makes itself, issues to servers and
// agents.
//
// A value of two PEM texts; the caller keeps them in 0600 files. Issued certificates begin an hour
// in the past, so that clocks that differ a little do not matter. Server certificates are good for
// TLS servers only, client certificates for TLS clients only: an agent cannot pose as the server.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace reeve::crypto {

/// DNS name that every server certificate carries. Clients that pin the CA verify this name instead
/// of the address they dialled (gRPC: ssl_target_name_override).
inline constexpr std::string_view kServerName = "reeve-server";

inline constexpr auto kCaLifetime = std::chrono::days(3650);
inline constexpr auto kClientLifetime = std::chrono::days(30);
inline constexpr auto kServerLifetime = std::chrono::days(90);

class Authority {
 public:
  /// A new key and its self-signed certificate.
  static Result<Authority> make(std::string_view common_name, WallTime now);
  /// InvalidArgument/BAD_CERTIFICATE, BAD_KEY, KEY_MISMATCH or NOT_A_CA.
  static Result<Authority> load(std::string certificate_pem, std::string key_pem);

  const std::string& certificate_pem() const { return certificate_pem_; }
  const std::string& key_pem() const { return key_pem_; }
  /// SHA-256 of the certificate, hexadecimal: what clients and enrol tokens pin.
  const std::string& fingerprint() const { return fingerprint_; }

  /// A certificate for the server that holds `key_pem`. `names` are DNS names or IP addresses
  /// beside kServerName. InvalidArgument/BAD_KEY, BAD_NAME.
  Result<std::string> issue_server(std::string_view key_pem, const std::vector<std::string>& names,
                                   WallTime now,
                                   std::chrono::seconds lifetime = kServerLifetime) const;
  /// A certificate with common name `host_uid` for the agent that signed the request; nothing else
  /// of the request is taken over. InvalidArgument/BAD_CSR.
  Result<std::string> issue_client(std::string_view csr_pem, std::string_view host_uid,
                                   WallTime now,
                                   std::chrono::seconds lifetime = kClientLifetime) const;

 private:
  Authority(std::string certificate_pem, std::string key_pem, std::string fingerprint)
      : certificate_pem_(std::move(certificate_pem)),
        key_pem_(std::move(key_pem)),
        fingerprint_(std::move(fingerprint)) {}

  std::string certificate_pem_;
  std::string key_pem_;
  std::string fingerprint_;
};

}  // namespace reeve::crypto
