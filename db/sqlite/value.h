// db/sqlite/value.h - what can be bound to a statement: integers, text, bytes, times, or nothing.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/clock.h"

namespace reeve::db {

/// Bytes to store as a BLOB; strings without this wrapper are stored as TEXT. Does not own them.
struct Blob {
  std::string_view bytes{};
};

/// One parameter. Views must live until the statement was bound, which is inside the call that
/// takes them.
using Value = std::variant<std::monostate, std::int64_t, std::string_view, Blob>;

inline Value to_value(std::string_view text) {
  return text;
}
inline Value to_value(const std::string& text) {
  return std::string_view(text);
}
inline Value to_value(const char* text) {
  return std::string_view(text);
}
inline Value to_value(Blob bytes) {
  return bytes;
}
inline Value to_value(WallTime time) {
  return to_micros(time);
}
inline Value to_value(std::nullopt_t) {
  return std::monostate{};
}
template <std::integral T>
Value to_value(T number) {
  return static_cast<std::int64_t>(number);
}
template <class T>
Value to_value(const std::optional<T>& maybe) {
  if (!maybe) return std::monostate{};
  return to_value(*maybe);
}
/// Empty text is stored as NULL: for references that may be absent.
inline Value null_if_empty(std::string_view text) {
  if (text.empty()) return std::monostate{};
  return text;
}
inline Value to_value(const Value& value) {
  return value;
}

}  // namespace reeve::db
