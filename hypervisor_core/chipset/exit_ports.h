// hypervisor_core/chipset/exit_ports.h - one-register devices that only tell the machine something.
#pragma once

#include "hypervisor_core/bus/io_device.h"
#include "hypervisor_core/bus/machine_events.h"

namespace reeve::core {

/// PC reset control register at port 0xCF9: bit 2 set resets. Source: Intel ICH data sheets.
class ResetControl final : public IoDevice {
 public:
  static constexpr std::uint16_t kPort = 0xcf9;
  explicit ResetControl(MachineEvents& events) : events_(events) {}
  std::string_view name() const override { return "reset-control"; }
  void read(std::uint64_t, std::span<std::byte> out) override { put_number(out, 0); }
  void write(std::uint64_t, std::span<const std::byte> value) override {
    if (value.size() == 1 && (number_of(value) & 4) != 0) events_.raise(MachineEvent::Reset, 0);
  }

 private:
  MachineEvents& events_;  // outlives the device
};

/// isa-debug-exit: a write ends the machine with the value as its code. Only for test guests.
class DebugExit final : public IoDevice {
 public:
  static constexpr std::uint16_t kPort = 0xf4;
  static constexpr std::uint64_t kPorts = 4;
  explicit DebugExit(MachineEvents& events) : events_(events) {}
  std::string_view name() const override { return "debug-exit"; }
  void read(std::uint64_t, std::span<std::byte> out) override { put_number(out, 0); }
  void write(std::uint64_t offset, std::span<const std::byte> value) override {
    if (offset == 0)
      events_.raise(MachineEvent::DebugExit, static_cast<std::uint32_t>(number_of(value)));
  }

 private:
  MachineEvents& events_;  // outlives the device
};

/// pvpanic: the guest kernel tells that it crashed. Source: Linux include/uapi/misc/pvpanic.h.
class Pvpanic final : public IoDevice {
 public:
  static constexpr std::uint16_t kPort = 0x505;
  explicit Pvpanic(MachineEvents& events) : events_(events) {}
  std::string_view name() const override { return "pvpanic"; }
  void read(std::uint64_t, std::span<std::byte> out) override {
    put_number(out, kPanicked | kCrashLoaded);
  }
  void write(std::uint64_t, std::span<const std::byte> value) override {
    const auto bits = number_of(value);
    if ((bits & kPanicked) != 0) events_.raise(MachineEvent::Panicked, 0);
    if ((bits & kCrashLoaded) != 0) events_.raise(MachineEvent::CrashLoaded, 0);
  }

 private:
  static constexpr std::uint8_t kPanicked = 1, kCrashLoaded = 2;
  MachineEvents& events_;  // outlives the device
};

}  // namespace reeve::core
