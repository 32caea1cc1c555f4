// hypervisor_core/pci/msix.h - the MSI-X table, pending bits and capability of one function.
// Source: PCI Local Bus 3.0, 6.8.2. Table and pending bits share one BAR of kBarSize bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/pci/config_space.h"

namespace reeve::core::v1 {
class MsixState;
}

namespace reeve::core::pci {

/// The IoDevice is the BAR. Thread-safe.
class Msix final : public IoDevice {
 public:
  static constexpr std::uint32_t kBarSize = 0x2000;
  static constexpr std::uint16_t kMaxVectors = 64;  // one word of pending bits

  /// Lines are made when first used, at most one per vector. `partition` outlives it.
  Msix(accel::Partition& partition, std::uint16_t vectors);

  std::string_view name() const override { return "msix"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> value) override;

  /// Adds the capability; table and pending bits are in BAR `bar`.
  void add_capability(ConfigSpace& config, std::uint8_t bar);
  /// The guest wrote to configuration space: takes over enable and mask.
  void config_written(const ConfigSpace& config);

  /// Interrupts the guest, or remembers it while the vector is masked. Unknown vectors are ignored.
  /// Any thread.
  void raise(std::uint16_t vector);
  std::uint16_t vectors() const { return vectors_; }

  void reset();
  void save(v1::MsixState& state) const;
  /// InvalidArgument/DEVICE_STATE.
  Status load(const v1::MsixState& state);

 private:
  struct Entry {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    std::uint32_t control = 1;  // masked
    std::unique_ptr<accel::MsiLine> line{};
    bool routed = false;  ///< line delivers what address and data say
  };
  bool masked(const Entry& entry) const REEVE_REQUIRES(mutex_) {
    return !enabled_ || function_masked_ || (entry.control & 1) != 0;
  }
  void deliver(Entry& entry) REEVE_REQUIRES(mutex_);
  void flush_pending() REEVE_REQUIRES(mutex_);

  accel::Partition& partition_;
  const std::uint16_t vectors_;
  std::uint8_t capability_ = 0;
  mutable Mutex mutex_;
  std::vector<Entry> entries_ REEVE_GUARDED_BY(mutex_);
  std::uint64_t pending_ REEVE_GUARDED_BY(mutex_) = 0;
  bool enabled_ REEVE_GUARDED_BY(mutex_) = false;
  bool function_masked_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::core::pci
