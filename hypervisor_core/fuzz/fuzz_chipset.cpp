// hypervisor_core/fuzz/fuzz_chipset.cpp - ports of the chipset: any access of any size in any
// order, typing, buttons, resets, and states that are loaded from the fuzzer or from a device.
#include <array>

#include "base/check.h"
#include "base/clock.h"
#include "hypervisor_core/bus/bus.h"
#include "hypervisor_core/chipset/acpi_hardware.h"
#include "hypervisor_core/chipset/byte_sink.h"
#include "hypervisor_core/chipset/cmos_rtc.h"
#include "hypervisor_core/chipset/exit_ports.h"
#include "hypervisor_core/chipset/i8042.h"
#include "hypervisor_core/chipset/serial_16550.h"
#include "hypervisor_core/fuzz/input.h"
#include "reeve/core/v1/chipset_state.pb.h"

using namespace reeve;
using namespace reeve::core;

namespace {

struct Line final : InterruptLine {
  void set_level(bool high) override { level = high; }
  bool level = false;
};
struct Events final : MachineEvents {
  void raise(MachineEvent, std::uint32_t) override { ++count; }
  int count = 0;
};
struct Time final : Clock {
  WallTime wall() const override { return WallTime(since); }
  Monotonic monotonic() const override { return Monotonic(since); }
  std::chrono::microseconds since{1'800'000'000'000'000};
};
struct Sink final : ByteSink {
  void write(std::span<const std::byte> out) override { bytes += out.size(); }
  std::size_t bytes = 0;
};

struct Chipset {
  Line serial_line{}, acpi_line{};
  Events events{};
  Sink sink{};
  Time clock{};
  Bus ports{};
  Serial16550 serial{serial_line, sink};
  CmosRtc rtc{clock, 64u << 20};
  I8042 keyboard{events};
  AcpiHardware acpi{acpi_line, events, clock};
  ResetControl reset_control{events};
  Pvpanic pvpanic{events};
  DebugExit debug_exit{events};

  Chipset() {
    REEVE_CHECK(ports.attach(0x3f8, Serial16550::kRegisters, serial).ok());
    REEVE_CHECK(ports.attach(0x70, CmosRtc::kPorts, rtc).ok());
    REEVE_CHECK(ports.attach(0x60, I8042::kPorts, keyboard).ok());
    REEVE_CHECK(ports.attach(AcpiPorts::kBase, AcpiPorts::kSize, acpi).ok());
    REEVE_CHECK(ports.attach(0xcf9, 1, reset_control).ok());
    REEVE_CHECK(ports.attach(Pvpanic::kPort, 1, pvpanic).ok());
    REEVE_CHECK(ports.attach(DebugExit::kPort, DebugExit::kPorts, debug_exit).ok());
  }
};

constexpr std::array<std::uint16_t, 8> kBases{0x3f8, 0x70,           0x60, AcpiPorts::kBase,
                                              0xcf9, Pvpanic::kPort, 0xf4, AcpiPorts::kBase + 8};

/// Loads what the fuzzer says; what a device accepts it must also give back as it took it.
template <class State, class Device>
void load(Device& device, fuzz::Input& input) {
  const auto bytes = input.take(input.number<std::uint8_t>());
  State state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  if (!device.load(state).ok()) return;
  State after, again;
  device.save(after);
  REEVE_CHECK(device.load(after).ok());
  device.save(again);
}

void step(Chipset& chipset, fuzz::Input& input) {
  std::array<std::byte, 8> bytes{};
  const auto what = input.number<std::uint8_t>();
  const std::uint64_t port = kBases[what / 16 % kBases.size()] + input.number<std::uint8_t>() % 40u;
  const std::size_t size = std::size_t{1} << (what / 128 + what % 2);
  switch (what % 16) {
    case 0:
    case 1:
    case 2:
    case 3: chipset.ports.read(port, std::span(bytes).first(size)); break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
      put_number(bytes, input.number<std::uint64_t>());
      chipset.ports.write(port, std::span<const std::byte>(bytes).first(size));
      break;
    case 9: chipset.serial.receive(input.take(input.number<std::uint8_t>())); break;
    case 10: chipset.acpi.press_power_button(); break;
    case 11: chipset.clock.since += std::chrono::milliseconds(input.number<std::uint32_t>()); break;
    case 12: load<v1::SerialState>(chipset.serial, input); break;
    case 13: load<v1::RtcState>(chipset.rtc, input); break;
    case 14: load<v1::AcpiState>(chipset.acpi, input); break;
    case 15: load<v1::KeyboardControllerState>(chipset.keyboard, input); break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  Chipset chipset;
  for (int i = 0; i < 500 && !input.empty(); ++i) step(chipset, input);
  return 0;
}
