// hypervisor_core/vm/agent_channel.h - the host's end of qemu-guest-agent's channel: lines of JSON,
// both ways.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "hypervisor_core/virtio/devices/console.h"

namespace reeve::core {

/// What the guest sends is bounded: a line over kMaxLine is dropped, as is one that is not UTF-8,
/// and of many unread lines the oldest.
class AgentChannel final : public virtio::PortSink {
 public:
  static constexpr const char* kPortName = "org.qemu.guest_agent.0";
  /// Tells the agent to thaw the guest's file systems. With an id that callers do not use, so that
  /// its answer is nobody's.
  static constexpr const char* kThaw = R"({"execute":"guest-fsfreeze-thaw","id":0})";
  static constexpr std::size_t kMaxLine = 512 << 10;
  static constexpr std::size_t kMaxLines = 16;

  std::size_t guest_wrote(std::span<const std::byte> bytes) override;
  void guest_opened(bool open) override;

  bool is_open() const;
  /// The oldest unread line, without its end.
  std::optional<std::string> take_line();
  /// Forgets unread lines: answers to calls that were given up.
  void drop_lines();
  /// Called on the device's worker after a line came; must not block.
  void set_listener(std::function<void()> listener);

  /// The guest may be frozen and is owed a thaw: part of a saved machine, so that whoever goes on
  /// with it knows. Any thread.
  void owe_thaw(bool owed) { thaw_owed_ = owed; }
  bool owes_thaw() const { return thaw_owed_; }

 private:
  mutable Mutex mutex_;
  bool open_ REEVE_GUARDED_BY(mutex_) = false;
  bool skipping_ REEVE_GUARDED_BY(mutex_) = false;
  std::string partial_ REEVE_GUARDED_BY(mutex_);
  std::deque<std::string> lines_ REEVE_GUARDED_BY(mutex_);
  std::function<void()> listener_ REEVE_GUARDED_BY(mutex_);
  std::atomic<bool> thaw_owed_{false};
};

}  // namespace reeve::core
