#include "server/auth/authority_files.h"

#include <sys/stat.h>

#include "base/crypto/x509.h"
#include "base/file.h"

namespace reeve::server {
namespace {

Result<bool> file_exists(const std::filesystem::path& path) {
  struct stat facts {};
  if (stat(path.c_str(), &facts) == 0) return true;
  if (errno == ENOENT) return false;
  return errno_error(path.string());
}

/// A key that others may have read is no secret any more.
Result<std::string> read_key(const std::filesystem::path& path) {
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0) return errno_error(path.string());
  if ((facts.st_mode & 077) != 0) {
    return Error{Code::FailedPrecondition, "KEY_FILE_OPEN",
                 "others can read '" + path.string() + "'"}
        .remedy("Consider the key known to others; if it is not, chmod 600 " + path.string());
  }
  return read_file(path, 64u << 10);
}

bool is_good(const std::string& chain, const std::string& key, const crypto::Authority& authority,
             const std::vector<std::string>& names, WallTime now) {
  const auto facts = crypto::parse_certificate(chain);
  if (!facts.ok() || !crypto::check_signed_by(chain, authority.certificate_pem()).ok() ||
      !crypto::check_key_matches(chain, key).ok())
    return false;
  std::vector<std::string> wanted{std::string(crypto::kServerName)};
  wanted.insert(wanted.end(), names.begin(), names.end());
  return facts.value().names == wanted && facts.value().begin <= now &&
         facts.value().end - now > crypto::kServerLifetime / 3;
}

}  // namespace

bool has_authority(const std::filesystem::path& data) {
  const auto found = file_exists(data / "ca" / "ca.pem");
  return !found.ok() || found.value();
}

Result<crypto::Authority> load_or_make_authority(const std::filesystem::path& data, WallTime now) {
  const auto dir = data / "ca";
  TRY(make_dirs(dir, 0700));
  if (TRY(file_exists(dir / "ca.pem"))) {
    if (!TRY(file_exists(dir / "ca.key"))) {
      return Error{Code::FailedPrecondition, "CA_INCOMPLETE",
                   "'" + (dir / "ca.key").string() + "' is missing"}
          .remedy("Restore it from a backup; without it no host can be enrolled or renewed.");
    }
    return crypto::Authority::load(TRY(read_file(dir / "ca.pem", 64u << 10)),
                                   TRY(read_key(dir / "ca.key")));
  }
  auto authority = TRY(crypto::Authority::make("Reeve CA", now));
  // The certificate last: it is what says that the CA is complete.
  TRY(write_file_durably(dir / "ca.key", authority.key_pem(), 0600));
  TRY(write_file_durably(dir / "ca.pem", authority.certificate_pem(), 0600));
  return authority;
}

Result<ServerCertificate> ensure_server_certificate(const crypto::Authority& authority,
                                                    const std::filesystem::path& data,
                                                    const std::vector<std::string>& names,
                                                    WallTime now) {
  const auto dir = data / "tls";
  TRY(make_dirs(dir, 0700));
  ServerCertificate out{
      .key = dir / "server.key", .chain = dir / "server.pem", .ca = data / "ca" / "ca.pem"};
  std::string key;
  if (TRY(file_exists(out.key))) {
    key = TRY(read_key(out.key));
  } else {
    key = TRY(crypto::generate_key_pem());
    TRY(write_file_durably(out.key, key, 0600));
  }
  auto chain = read_file(out.chain, 64u << 10);
  if (!chain.ok() || !is_good(chain.value(), key, authority, names, now)) {
    chain = TRY(authority.issue_server(key, names, now)) + authority.certificate_pem();
    TRY(write_file_durably(out.chain, chain.value(), 0600));
    out.renewed = true;
  }
  out.end = TRY(crypto::parse_certificate(chain.value())).end;
  return out;
}

Status check_private(const std::filesystem::path& data) {
  struct stat facts {};
  if (stat(data.c_str(), &facts) != 0) return errno_error(data.string());
  if ((facts.st_mode & 077) == 0) return {};
  return Error{Code::FailedPrecondition, "DATA_DIR_OPEN",
               "others than its owner may enter '" + data.string() + "'"}
      .remedy("chmod 700 " + data.string());
}

}  // namespace reeve::server
