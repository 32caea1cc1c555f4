// hypervisor_core/pci/root.h - bus 0 of the PCI Express root complex, reached through ECAM and
// ports 0xCF8/0xCFC. Source: PCI Express 3.0, 7.2.2 (ECAM); PCI Local Bus 3.0, 3.2.2.3.2 (ports).
// No hot-plug, no bridges.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/bus/bus.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/pci/device.h"

namespace reeve::core::pci {

class Root {
 public:
  static constexpr std::uint8_t kSlots = 32;

  /// `mmio` is where BARs appear; `reset_control` answers byte writes to 0xCF9. Both outlive the
  /// root.
  Root(Bus& mmio, IoDevice& reset_control);
  ~Root();
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  /// Puts the device into the next slot and gives its BARs addresses; they answer once the guest
  /// turns memory decoding on. Before the guest runs. ResourceExhausted/PCI_FULL. `device` outlives
  /// the root.
  Status add(Device& device);

  IoDevice& ecam();   ///< 1 MiB
  IoDevice& ports();  ///< 8 ports from 0xCF8

  /// All functions as after power-on: decoding off, BARs where add() put them.
  void reset();
  /// Configuration space of slot `slot`, as written by the guest; empty: no device there.
  std::string save(std::uint8_t slot) const;
  void load(std::uint8_t slot, std::string_view saved);
  std::uint32_t address_register() const;
  void set_address_register(std::uint32_t value);

 private:
  class HostBridge;
  class Ecam;
  class Ports;
  struct Placed {
    Bar bar;
    std::uint32_t initial = 0;              ///< address given by add()
    std::optional<std::uint32_t> mapped{};  ///< where it answers now
  };
  struct Slot {
    Device* device = nullptr;
    std::vector<Placed> bars{};
  };

  void read(std::uint32_t function, std::uint64_t offset, std::span<std::byte> out);
  void write(std::uint32_t function, std::uint64_t offset, std::span<const std::byte> value);
  void place_bars(Slot& slot) REEVE_REQUIRES(mutex_);

  Bus& mmio_;
  std::unique_ptr<HostBridge> bridge_;
  std::unique_ptr<Ecam> ecam_;
  std::unique_ptr<Ports> ports_;
  mutable Mutex mutex_;
  std::array<Slot, kSlots> slots_ REEVE_GUARDED_BY(mutex_);
  std::uint8_t next_slot_ REEVE_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_address_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::core::pci
