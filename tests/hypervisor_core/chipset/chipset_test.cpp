#include <string>

#include <catch2/catch.hpp>

#include "hypervisor_core/chipset/acpi_hardware.h"
#include "hypervisor_core/chipset/cmos_rtc.h"
#include "hypervisor_core/chipset/exit_ports.h"
#include "hypervisor_core/chipset/i8042.h"
#include "reeve/core/v1/chipset_state.pb.h"
#include "tests/hypervisor_core/support/fake_board.h"

namespace reeve::core {

using test::FakeEvents;
using test::FakeLine;
using test::ManualClock;
using test::read_number;
using test::write_number;

TEST_CASE("the clock shows the host's time in BCD and in binary", "[chipset]") {
  ManualClock clock;
  CmosRtc rtc(clock, 64 << 20);
  const auto reg = [&](std::uint8_t index) {
    write_number(rtc, 0, index);
    return read_number(rtc, 1);
  };
  CHECK(reg(0) == 0x20);
  CHECK(reg(2) == 0x13);
  CHECK(reg(4) == 0x22);
  CHECK(reg(6) == 3);
  CHECK(reg(7) == 0x14);
  CHECK(reg(8) == 0x11);
  CHECK(reg(9) == 0x23);
  CHECK(reg(0x32) == 0x20);
  CHECK(reg(13) == 0x80);
  write_number(rtc, 0, 11);
  write_number(rtc, 1, 4);  // binary, 12 hours
  CHECK(reg(4) == (0x80 | 10));
  CHECK(reg(9) == 23);
}

TEST_CASE("the clock keeps what the guest sets it to", "[chipset]") {
  ManualClock clock;
  CmosRtc rtc(clock, 64 << 20);
  const auto set = [&](std::uint8_t index, std::uint8_t value) {
    write_number(rtc, 0, index);
    write_number(rtc, 1, value);
  };
  set(9, 0x30);
  set(8, 0x02);
  set(7, 0x31);  // no such day: the last one
  set(4, 0x99);
  write_number(rtc, 0, 7);
  CHECK(read_number(rtc, 1) == 0x28);
  clock.wall_time += std::chrono::seconds(1);
  write_number(rtc, 0, 0);
  CHECK(read_number(rtc, 1) == 0x21);

  v1::RtcState state;
  rtc.save(state);
  CmosRtc other(clock, 64 << 20);
  REQUIRE(other.load(state).ok());
  write_number(other, 0, 9);
  CHECK(read_number(other, 1) == 0x30);
  state.set_version(2);
  CHECK(other.load(state).error().reason() == "DEVICE_STATE");
}

TEST_CASE("the clock's alarm interrupts at its time until status C is read", "[chipset]") {
  using namespace std::chrono_literals;
  ManualClock clock;
  FakeLine line;
  FakeEvents events;
  CmosRtc rtc(clock, 64 << 20);
  rtc.connect(line, events);
  const auto get = [&](std::uint8_t index) {
    write_number(rtc, 0, index);
    return read_number(rtc, 1);
  };
  const auto set = [&](std::uint8_t index, std::uint64_t value) {
    write_number(rtc, 0, index);
    write_number(rtc, 1, value);
  };
  CHECK_FALSE(rtc.until_alarm());
  set(4, 0x12), set(2, 0x30), set(0, 0x50);  // 12:30:50
  set(5, 0x12), set(3, 0x31), set(1, 0x05);  // alarm at 12:31:05
  set(11, 0x22);
  CHECK(rtc.until_alarm() == 15s);
  clock.wall_time += 14s;
  rtc.check_alarm();
  CHECK_FALSE(line.high());
  clock.wall_time += 1s;
  rtc.check_alarm();
  CHECK(line.high());
  CHECK(rtc.until_alarm() == 24h);

  v1::RtcState state;
  rtc.save(state);
  CmosRtc other(clock, 64 << 20);
  FakeLine elsewhere;
  other.connect(elsewhere, events);
  REQUIRE(other.load(state).ok());
  CHECK(elsewhere.high());
  CHECK(other.until_alarm() == 24h);

  CHECK(get(12) == 0xa0);
  CHECK_FALSE(line.high());
  CHECK(get(12) == 0);
  set(5, 0xff), set(3, 0xff), set(1, 0xff);  // every second
  CHECK(rtc.until_alarm() == 1s);
  set(1, 0x99);  // never
  CHECK_FALSE(rtc.until_alarm());
  set(1, 0xff);
  set(11, 0x02);
  CHECK_FALSE(rtc.until_alarm());
}

TEST_CASE("the keyboard controller resets the machine and answers its tests", "[chipset]") {
  FakeEvents events;
  I8042 keyboard(events);
  write_number(keyboard, 4, 0xaa);
  CHECK((read_number(keyboard, 4) & 1) == 1);
  CHECK(read_number(keyboard, 0) == 0x55);
  CHECK((read_number(keyboard, 4) & 1) == 0);
  CHECK(read_number(keyboard, 2) == 0xff);
  CHECK(events.seen.empty());
  write_number(keyboard, 4, 0xfe);
  write_number(keyboard, 4, 0xd1);
  write_number(keyboard, 0, 0xfe);
  CHECK(events.seen.size() == 2);
  CHECK(events.seen[0].first == MachineEvent::Reset);
}

TEST_CASE("the ACPI timer counts 3.579545 MHz", "[chipset]") {
  ManualClock clock;
  FakeLine line;
  FakeEvents events;
  AcpiHardware acpi(line, events, clock);
  clock.monotonic_time += std::chrono::seconds(10);
  CHECK(read_number(acpi, 8, 4) == 35'795'450);
  clock.monotonic_time += std::chrono::hours(1);
  CHECK(read_number(acpi, 8, 4) == (35'795'450ull + 3600ull * 3'579'545) % (1ull << 32));
}

TEST_CASE("the power button raises the interrupt until the guest clears it", "[chipset]") {
  ManualClock clock;
  FakeLine line;
  FakeEvents events;
  AcpiHardware acpi(line, events, clock);
  acpi.press_power_button();
  CHECK_FALSE(line.high());
  write_number(acpi, 2, 0x100, 2);
  CHECK(line.high());
  CHECK(read_number(acpi, 0, 2) == 0x100);
  write_number(acpi, 0, 0x100, 2);
  CHECK_FALSE(line.high());

  acpi.raise_event(AcpiHardware::kGenerationIdEvent);
  write_number(acpi, 0x12, 0xffff, 2);
  CHECK(line.high());
  write_number(acpi, 0x10, 1 << 5, 2);
  CHECK_FALSE(line.high());
}

TEST_CASE("sleep state 5 powers off, other states and the wrong reset value do nothing",
          "[chipset]") {
  ManualClock clock;
  FakeLine line;
  FakeEvents events;
  AcpiHardware acpi(line, events, clock);
  write_number(acpi, 4, 3 << 10 | 1 << 13, 2);
  write_number(acpi, 4, 5 << 10, 2);
  write_number(acpi, 0xc, 0x11);
  CHECK(events.seen.empty());
  CHECK((read_number(acpi, 4, 2) & 1) == 1);  // ACPI mode cannot be left
  write_number(acpi, 4, 5 << 10 | 1 << 13, 2);
  write_number(acpi, 0xc, AcpiPorts::kResetValue);
  REQUIRE(events.seen.size() == 2);
  CHECK(events.seen[0].first == MachineEvent::PowerOff);
  CHECK(events.seen[1].first == MachineEvent::Reset);
}

TEST_CASE("ACPI state survives a move, the timer goes on", "[chipset]") {
  ManualClock clock;
  FakeLine line;
  FakeEvents events;
  AcpiHardware acpi(line, events, clock);
  write_number(acpi, 2, 0x100, 2);
  clock.monotonic_time += std::chrono::seconds(2);
  v1::AcpiState state;
  acpi.save(state);
  FakeLine other_line;
  AcpiHardware other(other_line, events, clock);
  REQUIRE(other.load(state).ok());
  CHECK(read_number(other, 8, 4) == 2 * 3'579'545);
  other.press_power_button();
  CHECK(other_line.high());
}

TEST_CASE("exit ports tell the machine", "[chipset]") {
  FakeEvents events;
  ResetControl reset(events);
  DebugExit debug(events);
  Pvpanic panic(events);
  write_number(reset, 0, 2);
  CHECK(events.seen.empty());
  write_number(reset, 0, 6);
  write_number(debug, 0, 0x31, 4);
  CHECK(read_number(panic, 0) == 3);
  write_number(panic, 0, 1);
  using Seen = std::pair<MachineEvent, std::uint32_t>;
  CHECK(events.seen == std::vector<Seen>{{MachineEvent::Reset, 0},
                                         {MachineEvent::DebugExit, 0x31},
                                         {MachineEvent::Panicked, 0}});
}

TEST_CASE("odd sizes and offsets harm no chipset device", "[chipset]") {
  ManualClock clock;
  FakeLine line;
  FakeEvents events;
  AcpiHardware acpi(line, events, clock);
  CmosRtc rtc(clock, 64 << 20);
  I8042 keyboard(events);
  for (IoDevice* device : std::initializer_list<IoDevice*>{&acpi, &rtc, &keyboard})
    for (std::uint64_t offset = 0; offset < 0x20; ++offset)
      for (const std::size_t size : {1, 2, 4, 8}) {
        write_number(*device, offset, 0x5a5a5a5a5a5a5a5a, size);
        (void)read_number(*device, offset, size);
      }
}

}  // namespace reeve::core
