#include <string>

#include <catch2/catch.hpp>

#include "base/text.h"
#include "hypervisor_core/chipset/serial_16550.h"
#include "reeve/core/v1/chipset_state.pb.h"
#include "tests/hypervisor_core/support/fake_board.h"

namespace reeve::core {
namespace {

using test::read_number;
using test::write_number;

class Collected final : public ByteSink {
 public:
  void write(std::span<const std::byte> bytes) override {
    for (const auto byte : bytes) text.push_back(static_cast<char>(byte));
  }
  std::string text;
};

struct Port {
  test::FakeLine line;
  Collected sink;
  Serial16550 serial{line, sink};
};

}  // namespace

TEST_CASE("what the guest sends arrives, and the transmitter is ready again", "[chipset][serial]") {
  Port port;
  for (const char c : std::string("hi\n"))
    write_number(port.serial, 0, static_cast<std::uint8_t>(c));
  CHECK(port.sink.text == "hi\n");
  CHECK((read_number(port.serial, 5) & 0x60) == 0x60);
}

TEST_CASE("enabling the transmit interrupt raises it at once, reading its cause clears it",
          "[chipset][serial]") {
  Port port;
  write_number(port.serial, 1, 2);
  CHECK(port.line.high());
  CHECK((read_number(port.serial, 2) & 0xf) == 2);
  CHECK_FALSE(port.line.high());
  CHECK((read_number(port.serial, 2) & 0xf) == 1);
  write_number(port.serial, 0, 'x');
  CHECK(port.line.high());
}

TEST_CASE("input raises the interrupt until it is read, and comes before transmission",
          "[chipset][serial]") {
  Port port;
  write_number(port.serial, 1, 3);
  CHECK(port.serial.receive(as_bytes("ab")) == 2);
  CHECK((read_number(port.serial, 2) & 0xf) == 4);
  CHECK((read_number(port.serial, 5) & 1) == 1);
  CHECK(read_number(port.serial, 0) == 'a');
  CHECK(read_number(port.serial, 0) == 'b');
  CHECK((read_number(port.serial, 2) & 0xf) == 2);
  CHECK((read_number(port.serial, 5) & 1) == 0);
  CHECK_FALSE(port.line.high());
}

TEST_CASE("input is bounded", "[chipset][serial]") {
  Port port;
  const std::string flood(10000, 'x');
  CHECK(port.serial.receive(as_bytes(flood)) == Serial16550::kMaxInput);
  CHECK(port.serial.receive(as_bytes(flood)) == 0);
  write_number(port.serial, 2, 3);  // clear the FIFO
  CHECK(port.serial.receive(as_bytes("x")) == 1);
}

TEST_CASE("loop-back mode shows the modem lines and returns what is sent", "[chipset][serial]") {
  Port port;
  write_number(port.serial, 4, 0x10 | 0xa);
  CHECK((read_number(port.serial, 6) & 0xf0) == 0x90);
  write_number(port.serial, 0, 'q');
  CHECK(port.sink.text.empty());
  CHECK(read_number(port.serial, 0) == 'q');
  for (int i = 0; i < 5000; ++i) write_number(port.serial, 0, 'q');
  CHECK((read_number(port.serial, 5) & 2) == 2);
}

TEST_CASE("the divisor latch hides data and interrupt enable", "[chipset][serial]") {
  Port port;
  write_number(port.serial, 3, 0x83);
  write_number(port.serial, 0, 0x34);
  write_number(port.serial, 1, 0x12);
  CHECK(read_number(port.serial, 0) == 0x34);
  CHECK(read_number(port.serial, 1) == 0x12);
  write_number(port.serial, 3, 3);
  CHECK(read_number(port.serial, 1) == 0);
  CHECK(port.sink.text.empty());
}

TEST_CASE("a serial port's state moves, with its waiting input", "[chipset][serial]") {
  Port port;
  write_number(port.serial, 1, 1);
  write_number(port.serial, 7, 0x5a);
  REQUIRE(port.serial.receive(as_bytes("zz")) == 2);
  v1::SerialState state;
  port.serial.save(state);
  Port other;
  REQUIRE(other.serial.load(state).ok());
  CHECK(other.line.high());
  CHECK(read_number(other.serial, 7) == 0x5a);
  CHECK(read_number(other.serial, 0) == 'z');
  state.set_input(std::string(5000, 'x'));
  CHECK(other.serial.load(state).error().reason() == "DEVICE_STATE");
  state.set_version(9);
  CHECK_FALSE(other.serial.load(state).ok());
}

}  // namespace reeve::core
