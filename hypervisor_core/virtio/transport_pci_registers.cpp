// What vCPUs do to the transport: register accesses of a driver that may be hostile.
#include <algorithm>
#include <array>

#include <sys/eventfd.h>

#include "base/bytes.h"
#include "hypervisor_core/virtio/pci_layout.h"
#include "hypervisor_core/virtio/transport_pci.h"

namespace reeve::core::virtio {

using namespace pci_layout;

bool TransportPci::frozen() const {
  return (common_.status & kStatusDriverOk) != 0 || resetting_;
}

TransportPci::QueueRegisters* TransportPci::selected() {
  return common_.queue_select < queues_.size() ? &queues_[common_.queue_select] : nullptr;
}

void TransportPci::read_registers(std::uint64_t offset, std::span<std::byte> out) {
  if (offset < kCommon + kCommonSize) return read_common(offset, out);
  if (offset == kIsr && out.size() == 1) return put_number(out, interrupt_status_.exchange(0));
  if (offset >= kDevice && offset < kDevice + kDeviceSize) {
    Lock lock(config_mutex_);
    return device_.read_config(static_cast<std::uint32_t>(offset - kDevice), out);
  }
  put_number(out, 0);
}

void TransportPci::write_registers(std::uint64_t offset, std::span<const std::byte> value) {
  if (offset < kCommon + kCommonSize) return write_common(offset, value);
  if (offset >= kNotify) return notify(offset - kNotify);
  if (offset >= kDevice && offset < kDevice + kDeviceSize) {
    Lock lock(config_mutex_);
    device_.write_config(static_cast<std::uint32_t>(offset - kDevice), value);
  }
}

void TransportPci::notify(std::uint64_t offset) {
  const std::uint64_t queue = offset / kNotifyStride;
  if (queue < kicks_.size()) (void)eventfd_write(kicks_[queue].get(), 1);
}

void TransportPci::read_common(std::uint64_t offset, std::span<std::byte> out) {
  std::array<std::byte, 72> image{};
  const auto put = [&]<class T>(std::uint64_t at, T value) {
    store_le<T>(std::span(image).subspan(at), value);
  };
  {
    Lock lock(mutex_);
    const auto& c = common_;
    const auto word = [](std::uint64_t features, std::uint32_t select) {
      return static_cast<std::uint32_t>(select < 2 ? features >> (32 * select) : 0);
    };
    put(kDeviceFeatureSelect, c.device_feature_select);
    put(kDeviceFeature, word(offered_, c.device_feature_select));
    put(kDriverFeatureSelect, c.driver_feature_select);
    put(kDriverFeature, word(c.driver_features, c.driver_feature_select));
    put(kConfigVector, vectors_[queue_count_].load());
    put(kQueueCount, static_cast<std::uint16_t>(queue_count_));
    put(kDeviceStatus, c.status);
    put(kConfigGeneration, c.generation);
    put(kQueueSelect, c.queue_select);
    if (const auto* queue = selected()) {
      put(kQueueSize, queue->size);
      put(kQueueVector, vectors_[c.queue_select].load());
      put(kQueueEnable, static_cast<std::uint16_t>(queue->enabled));
      put(kQueueNotifyOffset, c.queue_select);
      put(kQueueDescriptors, queue->descriptors);
      put(kQueueAvailable, queue->available);
      put(kQueueUsed, queue->used);
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = image[offset + i];
}

void TransportPci::write_common(std::uint64_t offset, std::span<const std::byte> value) {
  Lock lock(mutex_);
  if (resetting_) return;
  const std::uint64_t number = number_of(value);
  if (offset == kDeviceStatus && value.size() == 1)
    return write_status(static_cast<std::uint8_t>(number));
  if (value.size() == 2) return write_half(offset, static_cast<std::uint16_t>(number));
  if (value.size() == 4 || value.size() == 8)
    write_word(offset, static_cast<std::uint32_t>(number));
  if (value.size() == 8) write_word(offset + 4, static_cast<std::uint32_t>(number >> 32));
}

void TransportPci::write_half(std::uint64_t offset, std::uint16_t value) {
  if (offset == kQueueSelect) {
    common_.queue_select = value;
    return;
  }
  if (frozen()) return;
  // A vector the table does not have reads back as none, which tells the driver (4.1.5.1.2).
  const std::uint16_t vector = value < msix_.vectors() ? value : kNoVector;
  if (offset == kConfigVector) vectors_[queue_count_] = vector;
  auto* queue = selected();
  if (queue == nullptr) return;
  if (offset == kQueueVector) vectors_[common_.queue_select] = vector;
  if (offset == kQueueEnable) queue->enabled = queue->enabled || value == 1;
  if (offset == kQueueSize && !queue->enabled && value <= traits_.queue_sizes[common_.queue_select])
    queue->size = value;
}

void TransportPci::write_word(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case kDeviceFeatureSelect: common_.device_feature_select = value; return;
    case kDriverFeatureSelect: common_.driver_feature_select = value; return;
    case kDriverFeature: {
      if (frozen() || (common_.status & kStatusFeaturesOk) != 0 ||
          common_.driver_feature_select > 1)
        return;
      const unsigned shift = 32 * common_.driver_feature_select;
      common_.driver_features = (common_.driver_features & ~(std::uint64_t{0xffffffff} << shift)) |
                                std::uint64_t{value} << shift;
      return;
    }
    default: break;
  }
  auto* queue = selected();
  if (frozen() || queue == nullptr || queue->enabled) return;
  const bool high = offset % 8 == 4;
  switch (offset & ~std::uint64_t{7}) {
    case kQueueDescriptors: return write_address(queue->descriptors, high, value);
    case kQueueAvailable: return write_address(queue->available, high, value);
    case kQueueUsed: return write_address(queue->used, high, value);
    default: return;
  }
}

void TransportPci::write_address(std::uint64_t& target, bool high, std::uint32_t value) {
  if (high)
    target = (target & 0xffffffff) | std::uint64_t{value} << 32;
  else
    target = (target & ~std::uint64_t{0xffffffff}) | value;
}

void TransportPci::write_status(std::uint8_t value) {
  if (value == 0) {
    if (!frozen()) return clear_registers();
    // Workers may be busy with host I/O. The driver polls until the status reads zero (4.1.4.3.2).
    resetting_ = true;
    world_.control.post([this] { reset_by_driver(); });
    return;
  }
  const bool was_ok = frozen();
  // Bits are only ever added; NEEDS_RESET is ours.
  common_.status |= value & kStatusDriverBits;
  const bool acceptable =
      (common_.driver_features & ~offered_) == 0 && (common_.driver_features & kVersion1) != 0;
  if (!acceptable)
    common_.status &= static_cast<std::uint8_t>(~(kStatusFeaturesOk | kStatusDriverOk));
  if ((common_.status & kStatusFeaturesOk) == 0)
    common_.status &= static_cast<std::uint8_t>(~kStatusDriverOk);
  if (!was_ok && frozen()) world_.control.post([this] { activate(); });
}

// The window capability: registers through configuration space, for those who cannot map a BAR.
void TransportPci::config_read(std::uint64_t offset, std::span<std::byte> out) {
  if (offset != window_capability_ + std::uint64_t{kWindowBytes}) return;
  const auto target =
      config_.get<std::uint32_t>(static_cast<std::uint16_t>(window_capability_ + kWindowOffset));
  const auto length =
      config_.get<std::uint32_t>(static_cast<std::uint16_t>(window_capability_ + kWindowLength));
  if (length != out.size() || target >= kRegisterBar || target % length != 0) return;
  read_registers(target, out);
}

void TransportPci::config_written(std::uint64_t offset, std::span<const std::byte> value) {
  msix_.config_written(config_);
  if (offset != window_capability_ + std::uint64_t{kWindowBytes}) return;
  const auto target =
      config_.get<std::uint32_t>(static_cast<std::uint16_t>(window_capability_ + kWindowOffset));
  const auto length =
      config_.get<std::uint32_t>(static_cast<std::uint16_t>(window_capability_ + kWindowLength));
  if (length != value.size() || target >= kRegisterBar || target % length != 0) return;
  write_registers(target, value);
}

}  // namespace reeve::core::virtio
