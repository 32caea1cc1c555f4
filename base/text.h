// base/text.h - small text helpers that the standard library lacks: split, join, sizes, hex,
// escaping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace reeve {

std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string to_hex(std::span<const std::byte> bytes);
/// InvalidArgument/BAD_HEX.
Result<std::vector<std::byte>> from_hex(std::string_view text);
/// URL-safe base64 without padding (RFC 4648, section 5).
std::string to_base64url(std::span<const std::byte> bytes);
/// InvalidArgument/BAD_BASE64.
Result<std::vector<std::byte>> from_base64url(std::string_view text);
/// Appends `text` as the inside of a JSON string: quotes, control characters and invalid UTF-8
/// escaped.
void append_json_escaped(std::string& out, std::string_view text);
/// True for well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text);
/// Shell-style match: `*` any run, `?` one character.
bool glob_match(std::string_view pattern, std::string_view text);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace reeve
