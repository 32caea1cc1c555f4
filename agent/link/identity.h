// agent/link/identity.h - the host's key, its certificate and whom it trusts, as files:
// <data>/identity/{key.pem, certificate.pem, ca.pem, identity.pb}, all 0600.
//
// The key is made once and never leaves the host; it is the host's identity. Calls block; any
// thread.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "reeve/agent/v1/store.pb.h"

namespace reeve::agent {

/// What a TLS client needs.
struct Credentials {
  std::string key_pem{};
  std::string certificate_pem{};
  std::string ca_pem{};
};

class IdentityFiles {
 public:
  explicit IdentityFiles(std::string data) : folder_(std::move(data) + "/identity") {}

  bool is_enrolled() const;
  /// The key, made when there is none yet.
  Result<std::string> key() const;
  /// FailedPrecondition/NOT_ENROLLED, DataLoss/IDENTITY_DAMAGED.
  Result<v1::Identity> identity() const;
  Result<Credentials> credentials() const;
  /// Ends an enrolment. The identity is written last: it is what makes the host enrolled.
  Status keep(const v1::Identity& identity, const std::string& certificate_pem,
              const std::string& ca_pem) const;
  /// A certificate for the same key, checked before it replaces the old one.
  Status keep_certificate(const std::string& certificate_pem, const std::string& ca_pem) const;
  /// Start and end of the certificate.
  struct Validity {
    WallTime begin{};
    WallTime end{};
    /// A third of its life is left, or less.
    bool is_due(WallTime now) const { return now >= begin + (end - begin) * 2 / 3; }
  };
  Result<Validity> validity() const;

 private:
  std::string folder_;
};

}  // namespace reeve::agent
