#include "hypervisor_core/pci/root.h"

#include <atomic>

#include "hypervisor_core/memory/layout.h"

namespace reeve::core::pci {

/// Slot 0: what makes operating systems believe in the bus.
class Root::HostBridge final : public Device {
 public:
  std::string_view name() const override { return "host-bridge"; }
  ConfigSpace& config() override { return config_; }

 private:
  // The generic PCI Express host bridge of the virtual world (Red Hat 1b36:0008).
  ConfigSpace config_{Identity{.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000}};
};

class Root::Ecam final : public IoDevice {
 public:
  explicit Ecam(Root& root) : root_(root) {}
  std::string_view name() const override { return "pci-ecam"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override {
    root_.read(function_of(offset), offset & 0xfff, out);
  }
  void write(std::uint64_t offset, std::span<const std::byte> value) override {
    root_.write(function_of(offset), offset & 0xfff, value);
  }

 private:
  static std::uint32_t function_of(std::uint64_t offset) {
    return static_cast<std::uint32_t>(offset >> 12);
  }
  Root& root_;
};

class Root::Ports final : public IoDevice {
 public:
  Ports(Root& root, IoDevice& reset_control) : root_(root), reset_control_(reset_control) {}
  std::string_view name() const override { return "pci-ports"; }

  void read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset >= kDataPort) {
      if (!enabled()) return fill_ones(out);
      return root_.read(function(), register_at(offset), out);
    }
    if (offset == 0 && out.size() == 4) return put_number(out, address_);
    if (offset == kResetPort && out.size() == 1) return reset_control_.read(0, out);
    fill_ones(out);
  }

  void write(std::uint64_t offset, std::span<const std::byte> value) override {
    if (offset >= kDataPort) {
      if (enabled()) root_.write(function(), register_at(offset), value);
    } else if (offset == 0 && value.size() == 4) {
      address_ = static_cast<std::uint32_t>(number_of(value)) & kAddressBits;
    } else if (offset == kResetPort && value.size() == 1) {
      reset_control_.write(0, value);
    }
  }

  std::atomic<std::uint32_t> address_{0};

 private:
  static constexpr std::uint64_t kResetPort = 1, kDataPort = 4;
  static constexpr std::uint32_t kEnable = 1u << 31, kAddressBits = 0x80fffffc;

  bool enabled() const { return (address_ & kEnable) != 0; }
  std::uint32_t function() const { return (address_ & ~kEnable) >> 8; }
  std::uint64_t register_at(std::uint64_t offset) const {
    return (address_ & 0xfc) + (offset - kDataPort);
  }

  Root& root_;
  IoDevice& reset_control_;
};

Root::Root(Bus& mmio, IoDevice& reset_control)
    : mmio_(mmio),
      bridge_(std::make_unique<HostBridge>()),
      ecam_(std::make_unique<Ecam>(*this)),
      ports_(std::make_unique<Ports>(*this, reset_control)),
      next_address_(kPciWindow32.base) {
  (void)add(*bridge_);
}

Root::~Root() = default;
IoDevice& Root::ecam() {
  return *ecam_;
}
IoDevice& Root::ports() {
  return *ports_;
}
std::uint32_t Root::address_register() const {
  return ports_->address_;
}
void Root::set_address_register(std::uint32_t value) {
  ports_->address_ = value & 0x80fffffc;
}

Status Root::add(Device& device) {
  Lock lock(mutex_);
  if (next_slot_ == kSlots)
    return Error{Code::ResourceExhausted, "PCI_FULL", "all 32 PCI slots are taken"};
  Slot& slot = slots_[next_slot_++];
  slot.device = &device;
  for (const auto& bar : device.bars()) {
    const std::uint64_t address = (next_address_ + bar.size - 1) / bar.size * bar.size;
    next_address_ = address + bar.size;
    if (!kPciWindow32.covers(address, bar.size))
      return Error{Code::ResourceExhausted, "PCI_FULL", "the PCI window is full"};
    const auto at = static_cast<std::uint16_t>(kBar0 + 4 * bar.index);
    device.config().set<std::uint32_t>(at, static_cast<std::uint32_t>(address));
    device.config().allow_writes(at, ~(bar.size - 1), 4);
    slot.bars.push_back({.bar = bar, .initial = static_cast<std::uint32_t>(address)});
  }
  return {};
}

void Root::read(std::uint32_t function, std::uint64_t offset, std::span<std::byte> out) {
  Lock lock(mutex_);
  // Bits 0..2 are the function, of which every device has one; the rest is the slot on bus 0.
  const std::uint32_t at = function >> 3;
  if ((function & 7) != 0 || at >= kSlots || slots_[at].device == nullptr) return fill_ones(out);
  slots_[at].device->config().read(offset, out);
  slots_[at].device->config_read(offset, out);
}

void Root::write(std::uint32_t function, std::uint64_t offset, std::span<const std::byte> value) {
  Lock lock(mutex_);
  const std::uint32_t at = function >> 3;
  if ((function & 7) != 0 || at >= kSlots || slots_[at].device == nullptr) return;
  Slot& slot = slots_[at];
  slot.device->config().write(offset, value);
  if (offset < kBar0 + 24u) place_bars(slot);
  slot.device->config_written(offset, value);
}

void Root::place_bars(Slot& slot) {
  auto& config = slot.device->config();
  const bool decodes = (config.get<std::uint16_t>(kCommand) & kCommandMemory) != 0;
  for (auto& placed : slot.bars) {
    const auto address =
        config.get<std::uint32_t>(static_cast<std::uint16_t>(kBar0 + 4 * placed.bar.index));
    // Elsewhere it would shadow RAM, interrupt controllers or firmware: it then answers nowhere.
    const bool wanted = decodes && kPciWindow32.covers(address, placed.bar.size);
    if (placed.mapped == (wanted ? std::optional(address) : std::nullopt)) continue;
    if (placed.mapped) {
      mmio_.detach(*placed.mapped);
      placed.mapped.reset();
    }
    if (wanted && mmio_.attach(address, placed.bar.size, *placed.bar.target).ok())
      placed.mapped = address;
    slot.device->bar_moved(placed.bar.index,
                           placed.mapped ? std::optional<Gpa>(*placed.mapped) : std::nullopt);
  }
}

void Root::reset() {
  Lock lock(mutex_);
  ports_->address_ = 0;
  for (auto& slot : slots_) {
    if (slot.device == nullptr) continue;
    slot.device->config().set<std::uint16_t>(kCommand, 0);
    for (const auto& placed : slot.bars)
      slot.device->config().set(static_cast<std::uint16_t>(kBar0 + 4 * placed.bar.index),
                                placed.initial);
    place_bars(slot);
  }
}

std::string Root::save(std::uint8_t slot) const {
  Lock lock(mutex_);
  return slot < kSlots && slots_[slot].device != nullptr ? slots_[slot].device->config().save()
                                                         : "";
}

void Root::load(std::uint8_t slot, std::string_view saved) {
  Lock lock(mutex_);
  if (slot >= kSlots || slots_[slot].device == nullptr) return;
  slots_[slot].device->config().load(saved);
  place_bars(slots_[slot]);
}

}  // namespace reeve::core::pci
