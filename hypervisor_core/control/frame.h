// hypervisor_core/control/frame.h - messages on a byte stream: little-endian length, then that many
// bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace reeve::core::control {

inline constexpr std::size_t kMaxMessage = 1 << 20;

/// Appends `message` as a frame. `message` is at most kMaxMessage: a broken invariant otherwise.
void append_frame(std::string& out, std::string_view message);

/// Cuts a stream into messages. Holds at most one incomplete message beside what feed() brought.
class FrameReader {
 public:
  void feed(std::string_view bytes) { buffer_ += bytes; }
  /// The next whole message, or nothing yet. InvalidArgument/CONTROL_FRAME: too long; the stream is
  /// lost.
  Result<std::optional<std::string>> next();

 private:
  std::string buffer_;
};

}  // namespace reeve::core::control
