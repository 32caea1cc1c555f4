// server/auth/authority_files.h - the CA and the server's certificate as files below the data
// folder.
//
// <data>/ca/ca.key, ca.pem: made once. <data>/tls/server.key, server.pem: the certificate chain
// with the CA as its last, so that clients can pin it. Keys are 0600 and written atomically.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/crypto/authority.h"
#include "base/status.h"

namespace reeve::server {

/// Whether load_or_make_authority() has something to load.
bool has_authority(const std::filesystem::path& data);

/// Loads the CA, or makes it when there is no certificate yet. FailedPrecondition/CA_INCOMPLETE
/// when its key is gone, FailedPrecondition/KEY_FILE_OPEN when others can read the key.
Result<crypto::Authority> load_or_make_authority(const std::filesystem::path& data, WallTime now);

struct ServerCertificate {
  std::filesystem::path key{};
  std::filesystem::path chain{};
  std::filesystem::path ca{};
  WallTime end{};
  bool renewed = false;
};
/// The certificate for `names`, issued anew when it is missing, unusable, has other names, or less
/// than a third of its life is left. The key stays.
Result<ServerCertificate> ensure_server_certificate(const crypto::Authority& authority,
                                                    const std::filesystem::path& data,
                                                    const std::vector<std::string>& names,
                                                    WallTime now);

/// FailedPrecondition/DATA_DIR_OPEN when others than its owner may enter `data`.
Status check_private(const std::filesystem::path& data);

}  // namespace reeve::server
