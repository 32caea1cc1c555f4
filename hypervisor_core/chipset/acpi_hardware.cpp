#include "hypervisor_core/chipset/acpi_hardware.h"

#include <chrono>

#include "reeve/core/v1/chipset_state.pb.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kTimerHertz = 3'579'545;
constexpr std::uint16_t kPowerButton = 1 << 8;
constexpr std::uint16_t kWakeStatus = 1 << 15;
constexpr std::uint16_t kStatusBits = kPowerButton | kWakeStatus | 0x21;
constexpr std::uint16_t kSciEnable = 1;
constexpr std::uint16_t kSleepEnable = 1 << 13;

using Ports = AcpiPorts;

std::uint8_t byte_of(std::uint64_t value, std::uint64_t index) {
  return static_cast<std::uint8_t>(value >> (8 * index));
}

void set_byte(std::uint16_t& target, std::uint64_t index, std::uint8_t value) {
  const unsigned shift = static_cast<unsigned>(index) * 8;
  target = static_cast<std::uint16_t>((target & ~(0xffu << shift)) | (unsigned{value} << shift));
}

}  // namespace

std::uint64_t AcpiHardware::timer() const {
  const auto running =
      std::chrono::duration_cast<std::chrono::nanoseconds>(clock_.monotonic() - started_);
  const auto ns = static_cast<std::uint64_t>(running.count());
  return ticks_before_ + ns / 1'000'000'000 * kTimerHertz +
         ns % 1'000'000'000 * kTimerHertz / 1'000'000'000;
}

void AcpiHardware::read(std::uint64_t offset, std::span<std::byte> out) {
  Lock lock(mutex_);
  if (offset == Ports::kTimer && out.size() == 4) return put_number(out, timer());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::byte>(read_byte(offset + i));
}

std::uint8_t AcpiHardware::read_byte(std::uint64_t offset) const {
  const auto& r = registers_;
  if (offset < Ports::kPm1Event + 2u) return byte_of(r.pm1_status, offset);
  if (offset < Ports::kPm1Event + 4u) return byte_of(r.pm1_enable, offset - 2);
  if (offset >= Ports::kPm1Control && offset < Ports::kPm1Control + 2u)
    return byte_of(r.pm1_control, offset - Ports::kPm1Control);
  if (offset >= Ports::kTimer && offset < Ports::kTimer + 4u)
    return byte_of(timer(), offset - Ports::kTimer);
  if (offset >= Ports::kGpe0 && offset < Ports::kGpe0 + 2u)
    return byte_of(r.gpe_status, offset - Ports::kGpe0);
  if (offset >= Ports::kGpe0 + 2u && offset < Ports::kGpe0 + 4u)
    return byte_of(r.gpe_enable, offset - Ports::kGpe0 - 2);
  return 0;
}

void AcpiHardware::write(std::uint64_t offset, std::span<const std::byte> value) {
  bool power_off = false, reset_wanted = false;
  {
    Lock lock(mutex_);
    for (std::size_t i = 0; i < value.size(); ++i) {
      const auto byte = std::to_integer<std::uint8_t>(value[i]);
      write_byte(offset + i, byte);
      reset_wanted |= offset + i == Ports::kReset && byte == Ports::kResetValue;
    }
    auto& control = registers_.pm1_control;
    power_off = (control & kSleepEnable) != 0 && (control >> 10 & 7) == Ports::kSleepTypeS5;
    control = static_cast<std::uint16_t>(control & ~kSleepEnable) | kSciEnable;
    update_line();
  }
  if (power_off) events_.raise(MachineEvent::PowerOff, 0);
  if (reset_wanted) events_.raise(MachineEvent::Reset, 0);
}

void AcpiHardware::write_byte(std::uint64_t offset, std::uint8_t value) {
  auto& r = registers_;
  const auto clear = [&](std::uint16_t& status, std::uint64_t index) {
    status = static_cast<std::uint16_t>(status & ~(unsigned{value} << (8 * index)));
  };
  if (offset < Ports::kPm1Event + 2u) return clear(r.pm1_status, offset);
  if (offset < Ports::kPm1Event + 4u) return set_byte(r.pm1_enable, offset - 2, value);
  if (offset >= Ports::kPm1Control && offset < Ports::kPm1Control + 2u)
    return set_byte(r.pm1_control, offset - Ports::kPm1Control, value);
  if (offset >= Ports::kGpe0 && offset < Ports::kGpe0 + 2u)
    return clear(r.gpe_status, offset - Ports::kGpe0);
  if (offset >= Ports::kGpe0 + 2u && offset < Ports::kGpe0 + 4u)
    return set_byte(r.gpe_enable, offset - Ports::kGpe0 - 2, value);
}

void AcpiHardware::update_line() {
  const auto& r = registers_;
  line_.set_level((r.pm1_status & r.pm1_enable & kStatusBits) != 0 ||
                  (r.gpe_status & r.gpe_enable) != 0);
}

void AcpiHardware::press_power_button() {
  Lock lock(mutex_);
  registers_.pm1_status |= kPowerButton;
  update_line();
}

void AcpiHardware::raise_event(unsigned bit) {
  Lock lock(mutex_);
  registers_.gpe_status = static_cast<std::uint16_t>(registers_.gpe_status | 1u << (bit & 15));
  update_line();
}

void AcpiHardware::reset() {
  Lock lock(mutex_);
  registers_ = {};
  update_line();
}

void AcpiHardware::save(v1::AcpiState& state) const {
  Lock lock(mutex_);
  state.set_version(1);
  state.set_pm1_status(registers_.pm1_status);
  state.set_pm1_enable(registers_.pm1_enable);
  state.set_pm1_control(registers_.pm1_control);
  state.set_gpe_status(registers_.gpe_status);
  state.set_gpe_enable(registers_.gpe_enable);
  state.set_timer_ticks(timer());
}

Status AcpiHardware::load(const v1::AcpiState& state) {
  if (state.version() != 1)
    return Error{Code::InvalidArgument, "DEVICE_STATE", "ACPI state is not version 1"};
  Lock lock(mutex_);
  registers_ = {.pm1_status = static_cast<std::uint16_t>(state.pm1_status()),
                .pm1_enable = static_cast<std::uint16_t>(state.pm1_enable()),
                .pm1_control = static_cast<std::uint16_t>(state.pm1_control()),
                .gpe_status = static_cast<std::uint16_t>(state.gpe_status()),
                .gpe_enable = static_cast<std::uint16_t>(state.gpe_enable())};
  ticks_before_ = state.timer_ticks();
  started_ = clock_.monotonic();
  update_line();
  return {};
}

}  // namespace reeve::core
