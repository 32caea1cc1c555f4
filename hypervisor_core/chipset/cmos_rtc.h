// hypervisor_core/chipset/cmos_rtc.h - the MC146818 clock and 128 bytes of memory at ports 0x70 and
// 0x71. Source: MC146818A data sheet. Time is the host's plus what the guest set. The alarm
// interrupt works; the periodic one and the update interrupt are not wired (Linux does without).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/bus/interrupt_line.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/bus/machine_events.h"

namespace reeve::core::v1 {
class RtcState;
}

namespace reeve::core {

class CmosRtc final : public IoDevice {
 public:
  static constexpr std::uint64_t kPorts = 2;

  /// `clock` outlives the device. RAM sizes are where firmware expects them.
  CmosRtc(const Clock& clock, std::uint64_t ram_bytes);
  /// Who is interrupted, and who calls check_alarm() and hears AlarmChanged when that should be at
  /// another time. Before the guest runs; both outlive the device.
  void connect(InterruptLine& line, MachineEvents& events);

  /// How long until check_alarm() has something to do; nothing when no alarm is set.
  std::optional<std::chrono::seconds> until_alarm() const;
  /// Interrupts the guest when its time has come.
  void check_alarm();

  std::string_view name() const override { return "cmos-rtc"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> value) override;

  void save(v1::RtcState& state) const;
  /// InvalidArgument/DEVICE_STATE.
  Status load(const v1::RtcState& state);

 private:
  std::uint8_t read_register(std::uint8_t index) REEVE_REQUIRES(mutex_);
  std::uint8_t hour_register(unsigned hour) const REEVE_REQUIRES(mutex_);
  void write_register(std::uint8_t index, std::uint8_t value) REEVE_REQUIRES(mutex_);
  std::uint8_t encode(unsigned value) const REEVE_REQUIRES(mutex_);
  unsigned decode(std::uint8_t value) const REEVE_REQUIRES(mutex_);
  std::int64_t guest_seconds() const REEVE_REQUIRES(mutex_);
  void set_field(std::uint8_t index, std::uint8_t value) REEVE_REQUIRES(mutex_);
  bool alarm_matches(std::int64_t guest_second) const REEVE_REQUIRES(mutex_);
  void find_alarm() REEVE_REQUIRES(mutex_);
  void set_line() const REEVE_REQUIRES(mutex_);

  const Clock& clock_;
  mutable Mutex mutex_;
  std::uint8_t index_ REEVE_GUARDED_BY(mutex_) = 0;
  std::array<std::uint8_t, 128> memory_ REEVE_GUARDED_BY(mutex_){};
  std::int64_t offset_seconds_ REEVE_GUARDED_BY(mutex_) = 0;
  std::optional<std::int64_t> alarm_ REEVE_GUARDED_BY(mutex_);  ///< in the guest's seconds
  InterruptLine* line_ = nullptr;
  MachineEvents* events_ = nullptr;
};

}  // namespace reeve::core
