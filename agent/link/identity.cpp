#include "agent/link/identity.h"

#include <filesystem>

#include "base/crypto/x509.h"
#include "base/file.h"

namespace reeve::agent {

bool IdentityFiles::is_enrolled() const {
  return file_size(folder_ + "/identity.pb").ok();
}

Result<std::string> IdentityFiles::key() const {
  const std::string path = folder_ + "/key.pem";
  auto there = read_file(path, 64u << 10);
  if (there.ok() || there.error().code() != Code::NotFound) return there;
  TRY(make_dirs(folder_, 0700));
  std::string key = TRY(crypto::generate_key_pem());
  TRY(write_file_durably(path, key, 0600));
  return key;
}

Result<v1::Identity> IdentityFiles::identity() const {
  if (!is_enrolled())
    return Error(Code::FailedPrecondition, "NOT_ENROLLED", "this host is not enrolled")
        .remedy("run 'reeve host enroll-token' where you administer Reeve and paste its line here");
  v1::Identity identity;
  const std::string record = TRY(read_file(folder_ + "/identity.pb"));
  if (!identity.ParseFromString(record) || identity.host_uid().empty())
    return Error{Code::DataLoss, "IDENTITY_DAMAGED",
                 "'" + folder_ + "/identity.pb' cannot be read"};
  return identity;
}

Result<Credentials> IdentityFiles::credentials() const {
  Credentials out;
  out.key_pem = TRY(read_file(folder_ + "/key.pem"));
  out.certificate_pem = TRY(read_file(folder_ + "/certificate.pem"));
  out.ca_pem = TRY(read_file(folder_ + "/ca.pem"));
  return out;
}

Status IdentityFiles::keep_certificate(const std::string& certificate_pem,
                                       const std::string& ca_pem) const {
  const std::string key_pem = TRY(key());
  TRY(crypto::check_key_matches(certificate_pem, key_pem));
  TRY(crypto::check_signed_by(certificate_pem, ca_pem));
  return write_file_durably(folder_ + "/certificate.pem", certificate_pem, 0600);
}

Status IdentityFiles::keep(const v1::Identity& identity, const std::string& certificate_pem,
                           const std::string& ca_pem) const {
  TRY(keep_certificate(certificate_pem, ca_pem));
  TRY(write_file_durably(folder_ + "/ca.pem", ca_pem, 0600));
  return write_file_durably(folder_ + "/identity.pb", identity.SerializeAsString(), 0600);
}

Result<IdentityFiles::Validity> IdentityFiles::validity() const {
  const std::string pem = TRY(read_file(folder_ + "/certificate.pem"));
  const auto facts = TRY(crypto::parse_certificate(pem));
  return Validity{facts.begin, facts.end};
}

}  // namespace reeve::agent
