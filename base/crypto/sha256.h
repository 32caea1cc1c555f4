// base/crypto/sha256.h - SHA-256, at once or in pieces, and comparison that does not leak where it
// differs.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace reeve::crypto {

using Digest = std::array<std::byte, 32>;

Digest sha256(std::span<const std::byte> bytes);
/// Lower-case hexadecimal.
std::string sha256_hex(std::string_view bytes);

/// Digest of a stream. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  /// Digest of everything since the beginning; starts anew.
  Digest finish();
  std::string finish_hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// Takes the same time wherever two texts of equal length differ.
bool constant_time_equal(std::string_view a, std::string_view b);

}  // namespace reeve::crypto
