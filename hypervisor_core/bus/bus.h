// hypervisor_core/bus/bus.h - one address space (ports or memory) and who answers where.
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/bus/io_device.h"

namespace reeve::core {

/// Thread-safe: vCPUs dispatch while a guest moves a BAR. Devices outlive the bus; one may still be
/// called for a short while after detach(). Dispatch is a binary search and allocates nothing.
class Bus {
 public:
  /// [base, base + size) belongs to `device`. AlreadyExists/BUS_RANGE_TAKEN,
  /// InvalidArgument/BUS_RANGE.
  Status attach(std::uint64_t base, std::uint64_t size, IoDevice& device);
  /// Removes the range that starts at `base`; nothing happens when there is none.
  void detach(std::uint64_t base);

  /// Accesses that do not lie in one range read as ones and write nothing; counted.
  void read(std::uint64_t address, std::span<std::byte> out);
  void write(std::uint64_t address, std::span<const std::byte> value);
  std::uint64_t unclaimed() const { return unclaimed_.load(std::memory_order_relaxed); }

 private:
  struct Range {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    IoDevice* device = nullptr;
  };
  Range find(std::uint64_t address, std::size_t length) const;

  mutable std::shared_mutex mutex_;  // guards ranges_; not held while a device works
  std::vector<Range> ranges_;        // ascending, disjoint
  std::atomic<std::uint64_t> unclaimed_{0};
};

}  // namespace reeve::core
