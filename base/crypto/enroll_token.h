// base/crypto/enroll_token.h - the text of an enrol token: a right to enrol one host, and whom to
// trust.
//
// "reeve-enroll." and the base64url of: version byte 1, SHA-256 fingerprint of the server's CA (32
// bytes), secret (32 bytes). The agent pins the CA before it sends the token; the server stores
// only its hash.
#pragma once

#include <string>
#include <string_view>

#include "base/random.h"
#include "base/status.h"

namespace reeve::crypto {

struct EnrollTokenParts {
  std::string ca_fingerprint{};  ///< lower-case hexadecimal
  std::string secret{};          ///< lower-case hexadecimal
};

/// `ca_fingerprint` has 64 hexadecimal digits.
std::string make_enroll_token(std::string_view ca_fingerprint, Random& random);
/// InvalidArgument/BAD_ENROLL_TOKEN. Never names the token in the message.
Result<EnrollTokenParts> parse_enroll_token(std::string_view token);

}  // namespace reeve::crypto
