#include "hypervisor_core/vm/agent_channel.h"

#include <utility>

#include "base/text.h"

namespace reeve::core {

std::size_t AgentChannel::guest_wrote(std::span<const std::byte> bytes) {
  std::function<void()> listener;
  {
    Lock lock(mutex_);
    for (const auto byte : bytes) {
      const auto c = static_cast<char>(byte);
      if (c == '\n') {
        if (!skipping_ && !partial_.empty() && is_utf8(partial_)) {
          if (lines_.size() == kMaxLines) lines_.pop_front();
          lines_.push_back(std::move(partial_));
          listener = listener_;
        }
        partial_.clear();
        skipping_ = false;
      } else if (partial_.size() == kMaxLine) {
        partial_.clear();
        skipping_ = true;
      } else if (!skipping_ && c != '\xff') {  // 0xFF is the agent's own mark after a resync
        partial_.push_back(c);
      }
    }
  }
  if (listener) listener();
  return bytes.size();
}

void AgentChannel::guest_opened(bool open) {
  Lock lock(mutex_);
  open_ = open;
  partial_.clear();
  skipping_ = false;
}

bool AgentChannel::is_open() const {
  Lock lock(mutex_);
  return open_;
}

std::optional<std::string> AgentChannel::take_line() {
  Lock lock(mutex_);
  if (lines_.empty()) return std::nullopt;
  std::optional<std::string> line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

void AgentChannel::drop_lines() {
  Lock lock(mutex_);
  lines_.clear();
}

void AgentChannel::set_listener(std::function<void()> listener) {
  Lock lock(mutex_);
  listener_ = std::move(listener);
}

}  // namespace reeve::core
