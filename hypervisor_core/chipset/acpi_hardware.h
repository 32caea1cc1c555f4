// hypervisor_core/chipset/acpi_hardware.h - ACPI fixed hardware: power management timer, power
// button, sleep control, general purpose events, reset register. Source: ACPI 6.4, sections 4.8
// and 4.8.4.
//
// Always in ACPI mode (no SMI command port). boot/acpi announces the ports below.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/bus/interrupt_line.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/bus/machine_events.h"

namespace reeve::core::v1 {
class AcpiState;
}

namespace reeve::core {

/// Where the registers are; the tables and the machine agree on these.
struct AcpiPorts {
  static constexpr std::uint16_t kBase = 0x600;
  static constexpr std::uint16_t kSize = 0x20;
  static constexpr std::uint16_t kPm1Event = 0x00;    ///< status and enable, 2 bytes each
  static constexpr std::uint16_t kPm1Control = 0x04;  ///< 2 bytes
  static constexpr std::uint16_t kTimer = 0x08;       ///< 4 bytes, 32-bit counter
  static constexpr std::uint16_t kReset = 0x0c;       ///< 1 byte
  static constexpr std::uint16_t kGpe0 = 0x10;        ///< status and enable, 2 bytes each
  static constexpr std::uint8_t kResetValue = 0x2a;
  static constexpr std::uint8_t kSleepTypeS5 = 5;
  static constexpr std::uint32_t kInterrupt = 9;
};

class AcpiHardware final : public IoDevice {
 public:
  /// General purpose events: bit numbers of GPE0.
  static constexpr unsigned kGenerationIdEvent = 5;

  /// All outlive the device.
  AcpiHardware(InterruptLine& line, MachineEvents& events, const Clock& clock)
      : line_(line), events_(events), clock_(clock), started_(clock.monotonic()) {}

  std::string_view name() const override { return "acpi"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> value) override;

  /// The guest sees its power button pressed. Any thread.
  void press_power_button();
  /// Raises a general purpose event. Any thread.
  void raise_event(unsigned bit);

  void reset();
  void save(v1::AcpiState& state) const;
  /// InvalidArgument/DEVICE_STATE.
  Status load(const v1::AcpiState& state);

 private:
  std::uint64_t timer() const REEVE_REQUIRES(mutex_);
  std::uint8_t read_byte(std::uint64_t offset) const REEVE_REQUIRES(mutex_);
  void write_byte(std::uint64_t offset, std::uint8_t value) REEVE_REQUIRES(mutex_);
  void update_line() REEVE_REQUIRES(mutex_);

  struct Registers {
    std::uint16_t pm1_status = 0, pm1_enable = 0, pm1_control = 1, gpe_status = 0, gpe_enable = 0;
  };

  InterruptLine& line_;
  MachineEvents& events_;
  const Clock& clock_;
  mutable Mutex mutex_;
  Registers registers_ REEVE_GUARDED_BY(mutex_);
  Monotonic started_ REEVE_GUARDED_BY(mutex_);
  std::uint64_t ticks_before_ REEVE_GUARDED_BY(mutex_) = 0;  ///< of earlier lives (restored state)
};

}  // namespace reeve::core
