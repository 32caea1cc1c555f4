#include "hypervisor_core/chipset/serial_16550.h"

#include <algorithm>

#include "reeve/core/v1/chipset_state.pb.h"

namespace reeve::core {
namespace {

enum Register : std::uint64_t { kData, kIer, kIirFcr, kLcr, kMcr, kLsr, kMsr, kScr };

constexpr std::uint8_t kIerReceive = 1, kIerTransmit = 2, kIerLine = 4;
constexpr std::uint8_t kFifoEnable = 1, kFifoClearReceive = 2;
constexpr std::uint8_t kDivisorLatch = 0x80;
constexpr std::uint8_t kLoop = 0x10;
constexpr std::uint8_t kIdNone = 1, kIdTransmit = 2, kIdReceive = 4, kIdLine = 6;
constexpr std::uint8_t kLineData = 1, kLineOverrun = 2, kLineTransmitterIdle = 0x60;
constexpr std::uint8_t kModemConnected = 0xb0;  // DCD, DSR, CTS

}  // namespace

void Serial16550::read(std::uint64_t offset, std::span<std::byte> out) {
  if (out.size() != 1) return fill_ones(out);
  Lock lock(mutex_);
  out[0] = static_cast<std::byte>(read_register(offset));
  update_line();
}

void Serial16550::write(std::uint64_t offset, std::span<const std::byte> value) {
  if (value.size() != 1) return;
  Lock lock(mutex_);
  write_register(offset, std::to_integer<std::uint8_t>(value[0]));
  update_line();
}

std::uint8_t Serial16550::read_register(std::uint64_t offset) {
  auto& r = registers_;
  const bool latch = (r.line_control & kDivisorLatch) != 0;
  switch (offset) {
    case kData: {
      if (latch) return static_cast<std::uint8_t>(r.divisor);
      if (input_.empty()) return 0;
      const std::uint8_t value = input_.front();
      input_.pop_front();
      return value;
    }
    case kIer: return latch ? static_cast<std::uint8_t>(r.divisor >> 8) : r.interrupt_enable;
    case kIirFcr: {
      const std::uint8_t id = interrupt_id();
      if (id == kIdTransmit) r.transmit_interrupt = false;
      return static_cast<std::uint8_t>(id | ((r.fifo_control & kFifoEnable) != 0 ? 0xc0 : 0));
    }
    case kLcr: return r.line_control;
    case kMcr: return r.modem_control;
    case kLsr: {
      std::uint8_t status = kLineTransmitterIdle;
      if (!input_.empty()) status |= kLineData;
      if (r.overrun) status |= kLineOverrun;
      r.overrun = false;
      return status;
    }
    case kMsr: {
      if ((r.modem_control & kLoop) == 0) return kModemConnected;
      const std::uint8_t m = r.modem_control;
      return static_cast<std::uint8_t>((m & 1) << 5 | (m & 2) << 3 | (m & 4) << 4 | (m & 8) << 4);
    }
    default: return r.scratch;
  }
}

void Serial16550::write_register(std::uint64_t offset, std::uint8_t value) {
  auto& r = registers_;
  const bool latch = (r.line_control & kDivisorLatch) != 0;
  switch (offset) {
    case kData:
      if (latch)
        r.divisor = static_cast<std::uint16_t>((r.divisor & 0xff00) | value);
      else
        transmit(value);
      break;
    case kIer:
      if (latch) {
        r.divisor = static_cast<std::uint16_t>((r.divisor & 0xff) | value << 8);
      } else {
        const bool newly = (value & ~r.interrupt_enable & kIerTransmit) != 0;
        r.interrupt_enable = value & 0xf;
        if (newly) r.transmit_interrupt = true;
      }
      break;
    case kIirFcr:
      r.fifo_control = value & 0xc9;
      if ((value & kFifoClearReceive) != 0) input_.clear();
      break;
    case kLcr: r.line_control = value; break;
    case kMcr: r.modem_control = value & 0x1f; break;
    case kScr: r.scratch = value; break;
    default: break;  // LSR and MSR are read-only
  }
}

void Serial16550::transmit(std::uint8_t value) {
  auto& r = registers_;
  r.transmit_interrupt = true;
  if ((r.modem_control & kLoop) == 0) {
    const auto byte = static_cast<std::byte>(value);
    sink_.write(std::span(&byte, 1));
  } else if (input_.size() < kMaxInput) {
    input_.push_back(value);
  } else {
    r.overrun = true;
  }
}

std::uint8_t Serial16550::interrupt_id() const {
  const auto& r = registers_;
  if ((r.interrupt_enable & kIerLine) != 0 && r.overrun) return kIdLine;
  if ((r.interrupt_enable & kIerReceive) != 0 && !input_.empty()) return kIdReceive;
  if ((r.interrupt_enable & kIerTransmit) != 0 && r.transmit_interrupt) return kIdTransmit;
  return kIdNone;
}

void Serial16550::update_line() {
  line_.set_level(interrupt_id() != kIdNone);
}

std::size_t Serial16550::receive(std::span<const std::byte> bytes) {
  Lock lock(mutex_);
  if ((registers_.modem_control & kLoop) != 0) return 0;
  const std::size_t taken = std::min(bytes.size(), kMaxInput - input_.size());
  for (const auto byte : bytes.first(taken)) input_.push_back(std::to_integer<std::uint8_t>(byte));
  update_line();
  return taken;
}

void Serial16550::reset() {
  Lock lock(mutex_);
  registers_ = {};
  input_.clear();
  update_line();
}

void Serial16550::save(v1::SerialState& state) const {
  Lock lock(mutex_);
  const auto& r = registers_;
  state.set_version(1);
  state.set_interrupt_enable(r.interrupt_enable);
  state.set_fifo_control(r.fifo_control);
  state.set_line_control(r.line_control);
  state.set_modem_control(r.modem_control);
  state.set_scratch(r.scratch);
  state.set_divisor(r.divisor);
  state.set_transmit_interrupt(r.transmit_interrupt);
  state.set_overrun(r.overrun);
  state.set_input(std::string(input_.begin(), input_.end()));
}

Status Serial16550::load(const v1::SerialState& state) {
  if (state.version() != 1 || state.input().size() > kMaxInput)
    return Error{Code::InvalidArgument, "DEVICE_STATE", "serial port state is not version 1"};
  Lock lock(mutex_);
  auto& r = registers_;
  r.interrupt_enable = state.interrupt_enable() & 0xf;
  r.fifo_control = state.fifo_control() & 0xc9;
  r.line_control = static_cast<std::uint8_t>(state.line_control());
  r.modem_control = state.modem_control() & 0x1f;
  r.scratch = static_cast<std::uint8_t>(state.scratch());
  r.divisor = static_cast<std::uint16_t>(state.divisor());
  r.transmit_interrupt = state.transmit_interrupt();
  r.overrun = state.overrun();
  input_.assign(state.input().begin(), state.input().end());
  update_line();
  return {};
}

}  // namespace reeve::core
