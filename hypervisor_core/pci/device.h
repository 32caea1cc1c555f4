// hypervisor_core/pci/device.h - one PCI function as its root sees it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/pci/config_space.h"

namespace reeve::core::pci {

/// A 32-bit memory BAR.
struct Bar {
  std::uint8_t index = 0;      ///< 0 to 5
  std::uint32_t size = 0;      ///< a power of two, at least 16
  IoDevice* target = nullptr;  ///< answers accesses; outlives the device
};

/// The root calls config functions one at a time, on vCPU threads.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;
  virtual ConfigSpace& config() = 0;
  virtual std::vector<Bar> bars() { return {}; }
  /// A guest reads [offset, offset + out.size()); after the config space was copied into `out`.
  virtual void config_read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) {}
  /// A guest has written there.
  virtual void config_written(std::uint64_t /*offset*/, std::span<const std::byte> /*value*/) {}
  /// A BAR now answers at `base`, or nowhere.
  virtual void bar_moved(std::uint8_t /*index*/, std::optional<Gpa> /*base*/) {}
};

}  // namespace reeve::core::pci
