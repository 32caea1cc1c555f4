// hypervisor_core/chipset/byte_sink.h - where a device's output goes.
#pragma once

#include <cstddef>
#include <span>

namespace reeve::core {

/// Called on vCPU and device threads; takes everything at once and never blocks: what does not fit
/// replaces the oldest.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual void write(std::span<const std::byte> bytes) = 0;
};

}  // namespace reeve::core
