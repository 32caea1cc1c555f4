// tests/hypervisor_core/virtio/driver_side.h - the guest's half of a virtqueue, well behaved or
// not.
#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/virtio/queue.h"

namespace reeve::core::virtio::test {

/// Counts what a device tells its driver.
class FakeInterrupts final : public Interrupts {
 public:
  void queue_used(std::uint16_t queue) override { ++used[queue % used.size()]; }
  void config_changed() override { ++config; }
  void needs_reset() override { ++resets; }
  std::array<std::atomic<int>, 16> used{};
  std::atomic<int> config{0}, resets{0};
};

inline std::unique_ptr<GuestMemory> make_memory(std::uint64_t bytes = 4u << 20) {
  const MemoryRange range{0, bytes};
  auto memory = GuestMemory::create(std::span(&range, 1));
  REEVE_CHECK(memory.ok());
  return std::move(memory).value();
}

struct Buffer {
  Gpa address = 0;
  std::uint32_t length = 0;
  bool writable = false;
};

struct Used {
  std::uint32_t id = 0;
  std::uint32_t length = 0;
};

/// Lays a ring out at `base` and data from `base` + 64 KiB on. The rings need 64 KiB at most.
class DriverSide {
 public:
  DriverSide(GuestMemory& memory, Gpa base, std::uint16_t size = 16,
             std::uint64_t features = kCommonFeatures, std::uint16_t index = 0)
      : memory_(&memory), base_(base), next_room_(base + 0x10000) {
    config_ = {.index = index,
               .size = size,
               .descriptors = base,
               .available = base + 0x8000,
               .used = base + 0xa000,
               .features = features};
  }
  const QueueConfig& config() const { return config_; }
  std::unique_ptr<Queue> make_queue(Interrupts& interrupts, QueuePosition position = {}) {
    auto queue = Queue::create(*memory_, interrupts, config_, position);
    REEVE_CHECK(queue.ok());
    return std::move(queue).value();
  }

  /// Fresh guest memory, zeroed by nobody.
  Gpa room(std::uint64_t length) {
    const Gpa at = next_room_;
    next_room_ += (length + 15) & ~std::uint64_t{15};
    REEVE_CHECK(memory_->contains(at, length));
    return at;
  }
  void reuse_room() { next_room_ = base_ + 0x10000; }
  Buffer readable(std::span<const std::byte> bytes) {
    const Gpa at = room(bytes.size());
    REEVE_CHECK(memory_->write(at, bytes));
    return {at, static_cast<std::uint32_t>(bytes.size()), false};
  }
  Buffer readable(std::string_view text) { return readable(std::as_bytes(std::span(text))); }
  template <class T>
  requires(std::is_class_v<T> && !std::is_convertible_v<T, std::string_view>) Buffer
      object(const T& value) {
    return readable(std::as_bytes(std::span(&value, 1)));
  }
  Buffer writable(std::uint32_t length) { return {room(length), length, true}; }

  void set_descriptor(Gpa table, std::uint16_t index, const Descriptor& descriptor) {
    REEVE_CHECK(memory_->write_object(table + 16u * index, descriptor));
  }
  void set_descriptor(std::uint16_t index, const Descriptor& descriptor) {
    set_descriptor(config_.descriptors, index, descriptor);
  }
  void chain(Gpa table, std::uint16_t first, const std::vector<Buffer>& buffers) {
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      std::uint16_t flags = buffers[i].writable ? kDescriptorWrite : 0;
      if (i + 1 < buffers.size()) flags |= kDescriptorNext;
      const auto at = static_cast<std::uint16_t>(first + i);
      set_descriptor(
          table, at,
          {buffers[i].address, buffers[i].length, flags, static_cast<std::uint16_t>(at + 1)});
    }
  }
  /// Puts the buffers into descriptors from a rolling place and makes them available. Returns the
  /// head.
  std::uint16_t submit(const std::vector<Buffer>& buffers) {
    if (next_descriptor_ + buffers.size() > config_.size) next_descriptor_ = 0;
    const std::uint16_t head = next_descriptor_;
    next_descriptor_ = static_cast<std::uint16_t>(next_descriptor_ + buffers.size());
    chain(config_.descriptors, head, buffers);
    make_available(head);
    return head;
  }
  std::uint16_t submit_indirect(const std::vector<Buffer>& buffers) {
    const Gpa table = room(16 * buffers.size());
    chain(table, 0, buffers);
    const std::uint16_t head = next_descriptor_;
    next_descriptor_ = static_cast<std::uint16_t>((next_descriptor_ + 1) % config_.size);
    set_descriptor(
        head, {table, static_cast<std::uint32_t>(16 * buffers.size()), kDescriptorIndirect, 0});
    make_available(head);
    return head;
  }
  void make_available(std::uint16_t head) {
    REEVE_CHECK(memory_->write_le<std::uint16_t>(
        config_.available + 4 + 2u * (available_ % config_.size), head));
    set_available_index(++available_);
  }
  void set_available_index(std::uint16_t value) {
    REEVE_CHECK(memory_->store_release<std::uint16_t>(config_.available + 2, value));
  }
  void set_available_flags(std::uint16_t value) {
    REEVE_CHECK(memory_->write_le<std::uint16_t>(config_.available, value));
  }
  /// The driver wants an interrupt once `used` passes this.
  void set_used_event(std::uint16_t value) {
    REEVE_CHECK(memory_->write_le<std::uint16_t>(config_.available + 4 + 2u * config_.size, value));
  }
  std::uint16_t available_event() const {
    return *memory_->read_le<std::uint16_t>(config_.used + 4 + 8u * config_.size);
  }
  std::uint16_t used_flags() const { return *memory_->read_le<std::uint16_t>(config_.used); }
  std::uint16_t used_index() const {
    return *memory_->load_acquire<std::uint16_t>(config_.used + 2);
  }
  std::optional<Used> take_used() {
    if (used_index() == taken_) return std::nullopt;
    return memory_->read_object<Used>(config_.used + 4 + 8u * (taken_++ % config_.size));
  }
  std::string text(const Buffer& buffer, std::size_t length) const {
    std::string out(length, '\0');
    REEVE_CHECK(memory_->read(buffer.address, std::as_writable_bytes(std::span(out))));
    return out;
  }
  std::string text(const Buffer& buffer) const { return text(buffer, buffer.length); }
  GuestMemory& memory() { return *memory_; }
  /// From now on this is the driver of a machine whose memory holds the same.
  void move_to(GuestMemory& memory) { memory_ = &memory; }

 private:
  GuestMemory* memory_;
  Gpa base_;
  Gpa next_room_;
  QueueConfig config_{};
  std::uint16_t available_ = 0;
  std::uint16_t taken_ = 0;
  std::uint16_t next_descriptor_ = 0;
};

}  // namespace reeve::core::virtio::test
