// hypervisor_core/chipset/i8042.h - the keyboard controller without a keyboard: ports 0x60 and
// 0x64. Kernels reset the machine through command 0xFE. Source: IBM PS/2 Hardware Interface
// Reference (1988).
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/bus/machine_events.h"

namespace reeve::core::v1 {
class KeyboardControllerState;
}

namespace reeve::core {

/// Attached at 0x60 with 5 ports; 1 to 3 are not decoded.
class I8042 final : public IoDevice {
 public:
  static constexpr std::uint64_t kPorts = 5;
  explicit I8042(MachineEvents& events) : events_(events) {}

  std::string_view name() const override { return "i8042"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> value) override;

  void reset();
  void save(v1::KeyboardControllerState& state) const;
  /// InvalidArgument/DEVICE_STATE.
  Status load(const v1::KeyboardControllerState& state);

 private:
  void command(std::uint8_t value) REEVE_REQUIRES(mutex_);
  void answer(std::uint8_t value) REEVE_REQUIRES(mutex_) {
    output_ = value;
    has_output_ = true;
  }

  MachineEvents& events_;  // outlives the device
  mutable Mutex mutex_;
  std::uint8_t pending_command_ REEVE_GUARDED_BY(mutex_) = 0;
  std::uint8_t command_byte_ REEVE_GUARDED_BY(mutex_) = 0x30;  // both ports disabled
  std::uint8_t output_port_ REEVE_GUARDED_BY(mutex_) = 3;      // A20 open, no reset
  std::uint8_t output_ REEVE_GUARDED_BY(mutex_) = 0;
  bool has_output_ REEVE_GUARDED_BY(mutex_) = false;
};

}  // namespace reeve::core
