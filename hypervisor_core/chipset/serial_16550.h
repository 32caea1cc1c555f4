// hypervisor_core/chipset/serial_16550.h - the 16550A serial port.
// Source: PC16550D data sheet (National Semiconductor, 1995). Transmission takes no time, so the
// transmitter is always empty; input waits in a queue that stands for the wire and the 16-byte
// FIFO.
#pragma once

#include <cstdint>
#include <deque>

#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/bus/interrupt_line.h"
#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/chipset/byte_sink.h"

namespace reeve::core::v1 {
class SerialState;
}

namespace reeve::core {

class Serial16550 final : public IoDevice {
 public:
  static constexpr std::uint64_t kRegisters = 8;
  /// Input that waits for the guest; more is refused by receive().
  static constexpr std::size_t kMaxInput = 4096;

  /// Both outlive the device.
  Serial16550(InterruptLine& line, ByteSink& sink) : line_(line), sink_(sink) {}

  std::string_view name() const override { return "serial-16550"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> value) override;

  /// Input for the guest; returns how many bytes were taken. Any thread.
  std::size_t receive(std::span<const std::byte> bytes);

  /// As after power-on. Waiting input is lost.
  void reset();
  void save(v1::SerialState& state) const;
  /// InvalidArgument/DEVICE_STATE.
  Status load(const v1::SerialState& state);

 private:
  std::uint8_t read_register(std::uint64_t offset) REEVE_REQUIRES(mutex_);
  void write_register(std::uint64_t offset, std::uint8_t value) REEVE_REQUIRES(mutex_);
  void transmit(std::uint8_t value) REEVE_REQUIRES(mutex_);
  std::uint8_t interrupt_id() const REEVE_REQUIRES(mutex_);
  void update_line() REEVE_REQUIRES(mutex_);

  InterruptLine& line_;
  ByteSink& sink_;

  struct Registers {
    std::uint8_t interrupt_enable = 0, fifo_control = 0, line_control = 0, modem_control = 8,
                 scratch = 0;
    std::uint16_t divisor = 12;  // 9600 baud
    bool transmit_interrupt = false;
    bool overrun = false;
  };
  mutable Mutex mutex_;
  Registers registers_ REEVE_GUARDED_BY(mutex_);
  std::deque<std::uint8_t> input_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::core
