// tests/hypervisor_core/support/fake_board.h - interrupt lines, machine events and clocks to look
// at.
#pragma once

#include <utility>
#include <vector>

#include "base/clock.h"
#include "hypervisor_core/bus/interrupt_line.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/bus/machine_events.h"

namespace reeve::core::test {

class FakeLine final : public InterruptLine {
 public:
  void set_level(bool high) override {
    if (high && !high_) ++rises;
    high_ = high;
  }
  bool high() const { return high_; }
  int rises = 0;

 private:
  bool high_ = false;
};

class FakeEvents final : public MachineEvents {
 public:
  void raise(MachineEvent event, std::uint32_t value) override { seen.emplace_back(event, value); }
  std::vector<std::pair<MachineEvent, std::uint32_t>> seen;
};

class ManualClock final : public Clock {
 public:
  WallTime wall() const override { return wall_time; }
  Monotonic monotonic() const override { return monotonic_time; }
  WallTime wall_time = from_micros(1'700'000'000'000'000);  // 2023-11-14 22:13:20 UTC, a Tuesday
  Monotonic monotonic_time{};
};

inline std::uint64_t read_number(IoDevice& device, std::uint64_t offset, std::size_t size = 1) {
  std::byte bytes[8]{};
  device.read(offset, std::span(bytes, size));
  return number_of(std::span<const std::byte>(bytes, size));
}

inline void write_number(IoDevice& device, std::uint64_t offset, std::uint64_t value,
                         std::size_t size = 1) {
  std::byte bytes[8]{};
  put_number(std::span(bytes, size), value);
  device.write(offset, std::span<const std::byte>(bytes, size));
}

}  // namespace reeve::core::test
