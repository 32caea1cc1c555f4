#include "hypervisor_core/control/frame.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"

namespace reeve::core::control {
namespace {

constexpr std::size_t kHeader = 4;

}  // namespace

void append_frame(std::string& out, std::string_view message) {
  REEVE_CHECK(message.size() <= kMaxMessage);
  std::byte header[kHeader];
  store_le<std::uint32_t>(header, static_cast<std::uint32_t>(message.size()));
  out.append(reinterpret_cast<const char*>(header), kHeader);
  out += message;
}

Result<std::optional<std::string>> FrameReader::next() {
  if (buffer_.size() < kHeader) return std::optional<std::string>{};
  const std::size_t size = load_le<std::uint32_t>(as_bytes(buffer_));
  if (size > kMaxMessage)
    return Error{Code::InvalidArgument, "CONTROL_FRAME", "a control message is over 1 MiB"};
  if (buffer_.size() < kHeader + size) return std::optional<std::string>{};
  std::optional<std::string> message = buffer_.substr(kHeader, size);
  buffer_.erase(0, kHeader + size);
  return message;
}

}  // namespace reeve::core::control
