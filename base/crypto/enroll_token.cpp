#include "base/crypto/enroll_token.h"

#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace reeve::crypto {
namespace {

constexpr std::string_view kPrefix = "reeve-enroll.";
constexpr std::byte kVersion{1};
constexpr std::size_t kDigest = 32;
constexpr std::size_t kSecret = 32;

}  // namespace

std::string make_enroll_token(std::string_view ca_fingerprint, Random& random) {
  auto fingerprint = from_hex(ca_fingerprint);
  REEVE_CHECK(fingerprint.ok() && fingerprint.value().size() == kDigest);
  std::vector<std::byte> bytes(1 + kDigest + kSecret, kVersion);
  std::copy(fingerprint.value().begin(), fingerprint.value().end(), bytes.begin() + 1);
  random.fill(std::span(bytes).last(kSecret));
  return std::string(kPrefix) + to_base64url(bytes);
}

Result<EnrollTokenParts> parse_enroll_token(std::string_view token) {
  const Error bad{Code::InvalidArgument, "BAD_ENROLL_TOKEN", "this is no complete enrol token"};
  if (!token.starts_with(kPrefix) || token.size() > 256) return bad;
  const auto bytes = from_base64url(token.substr(kPrefix.size()));
  if (!bytes.ok() || bytes.value().size() != 1 + kDigest + kSecret ||
      bytes.value().front() != kVersion)
    return bad;
  const std::span<const std::byte> all(bytes.value());
  return EnrollTokenParts{.ca_fingerprint = to_hex(all.subspan(1, kDigest)),
                          .secret = to_hex(all.last(kSecret))};
}

}  // namespace reeve::crypto
