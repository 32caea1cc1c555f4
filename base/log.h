// base/log.h - JSON lines on stderr: one line is one event with fields.
//
//   log::info("vm started", {{"vm", id}, {"host", host}});
//
// The message is a constant that can be grepped; data goes into fields. error = an operator must
// act; warning = will need to; info = a state changed; debug = the rest. Whatever a guest can
// trigger uses guest_warning(), which is rate limited. Thread-safe; a line is one write(2).
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/status.h"

namespace reeve::log {

enum class Level : std::uint8_t { Debug, Info, Warning, Error };

/// One field; numbers and booleans stay numbers and booleans in the JSON.
class Field {
 public:
  Field(std::string_view key, std::string_view value) : key_(key), text_(value), quoted_(true) {}
  Field(std::string_view key, const char* value) : Field(key, std::string_view(value)) {}
  Field(std::string_view key, const std::string& value) : Field(key, std::string_view(value)) {}
  Field(std::string_view key, bool value) : key_(key), text_(value ? "true" : "false") {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) Field(std::string_view key, T value)
      : key_(key), text_(std::to_string(value)) {}
  Field(std::string_view key, double value);

  std::string_view key() const { return key_; }
  const std::string& text() const { return text_; }
  bool quoted() const { return quoted_; }

 private:
  std::string_view key_;
  std::string text_;
  bool quoted_ = false;
};
using Fields = std::initializer_list<Field>;

void debug(std::string_view message, Fields fields = {});
void info(std::string_view message, Fields fields = {});
void warning(std::string_view message, Fields fields = {});
void error(std::string_view message, Fields fields = {});
/// The same with an Error's code, reason and message as fields.
void warning(std::string_view message, const Error& cause, Fields fields = {});
void error(std::string_view message, const Error& cause, Fields fields = {});
/// At most 10 lines a second in the whole process; the next line says how many were dropped.
void guest_warning(std::string_view message, Fields fields = {});

/// Lines below `level` are not written. Default Info.
void set_level(Level level);
/// Takes the lines in place of stderr; an empty function restores it. Set before other threads log.
void set_sink(std::function<void(std::string_view line)> sink);

}  // namespace reeve::log
