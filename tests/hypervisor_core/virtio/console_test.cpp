// Ports of the console device: announcing, opening, bytes both ways, floods.
#include "hypervisor_core/virtio/devices/console.h"

#include <catch2/catch.hpp>

#include "base/bytes.h"
#include "tests/hypervisor_core/virtio/device_bench.h"

using namespace reeve;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

class Sink final : public PortSink {
 public:
  std::size_t guest_wrote(std::span<const std::byte> bytes) override {
    const std::size_t taken = std::min(bytes.size(), room);
    for (std::size_t i = 0; i < taken; ++i) text += static_cast<char>(bytes[i]);
    room -= taken;
    return taken;
  }
  void guest_opened(bool is_open) override { open = is_open; }
  std::string text{};
  std::size_t room = 1u << 30;
  bool open = false;
};

struct Machine {
  Sink console{}, agent{};
  std::unique_ptr<Console> device =
      Console::create({{.is_console = true, .sink = &console},
                       {.name = "org.qemu.guest_agent.0", .sink = &agent}})
          .value();
  DeviceBench bench{*device};
  std::vector<Buffer> control_rooms{};

  Machine() {
    for (int i = 0; i < 16; ++i) {
      control_rooms.push_back(bench.drivers[2].writable(128));
      bench.drivers[2].submit({control_rooms.back()});
    }
  }
  void say(std::uint32_t port, std::uint16_t event, std::uint16_t value) {
    std::string bytes(8, '\0');
    const auto out = std::as_writable_bytes(std::span(bytes));
    store_le(out, port);
    store_le(out.subspan(4), event);
    store_le(out.subspan(6), value);
    bench.drivers[3].submit({bench.drivers[3].readable(bytes)});
    bench.serve(3);
    device->on_event(0, bench);
  }
  /// The next control message as "port event value text".
  std::string heard() {
    const auto used = bench.drivers[2].take_used();
    if (!used) return "(nothing)";
    const auto text = bench.drivers[2].text(control_rooms[used->id], used->length);
    const auto bytes = std::as_bytes(std::span(text));
    return std::to_string(load_le<std::uint32_t>(bytes)) + " " +
           std::to_string(load_le<std::uint16_t>(bytes.subspan(4))) + " " +
           std::to_string(load_le<std::uint16_t>(bytes.subspan(6))) +
           (used->length > 8 && text[8] > ' ' ? " " + text.substr(8) : "");
  }
};

}  // namespace

TEST_CASE("ports are announced, named and opened in the order of the specification", "[virtio]") {
  Machine machine;
  machine.say(0, 0, 1);
  CHECK(machine.heard() == "0 1 1");
  CHECK(machine.heard() == "1 1 1");
  machine.say(0, 3, 1);
  CHECK(machine.heard() == "0 4 1");
  CHECK(machine.heard() == "0 5 0");
  CHECK(machine.heard() == "0 6 1");
  machine.say(1, 3, 1);
  CHECK(machine.heard() == "1 7 1 org.qemu.guest_agent.0");
  CHECK(machine.heard() == "(nothing)");
  machine.device->set_host_open(1, true);
  machine.device->on_event(0, machine.bench);
  CHECK(machine.heard() == "1 6 1");
  machine.say(1, 6, 1);
  CHECK(machine.agent.open);
  CHECK(machine.device->guest_has_open(1));
  machine.say(77, 6, 1);  // no such port
  machine.say(0, 99, 1);
  CHECK(machine.heard() == "(nothing)");
}

TEST_CASE("bytes go both ways on every port", "[virtio]") {
  Machine machine;
  auto& bench = machine.bench;
  bench.drivers[1].submit({bench.drivers[1].readable("login: ")});
  bench.serve(1);
  bench.drivers[5].submit({bench.drivers[5].readable("{\"return\": {}}")});
  bench.serve(5);
  CHECK(machine.console.text == "login: ");
  CHECK(machine.agent.text == "{\"return\": {}}");

  const auto room = bench.drivers[4].writable(10);
  const auto more = bench.drivers[4].writable(10);
  CHECK(machine.device->send(1, std::as_bytes(std::span("guest-sync-id", 13))) == 13);
  machine.device->on_event(0, bench);
  bench.drivers[4].submit({room});
  bench.drivers[4].submit({more});
  bench.serve(4);
  CHECK(bench.drivers[4].text(room) + bench.drivers[4].text(more, 3) == "guest-sync-id");
}

TEST_CASE("a flood from the guest waits for the host and stays bounded", "[virtio]") {
  Machine machine;
  machine.console.room = 10;
  auto& driver = machine.bench.drivers[1];
  const auto block = driver.readable(std::string(1000, 'x'));
  for (int i = 0; i < 60; ++i) driver.submit({block});
  machine.bench.serve(1);
  CHECK(driver.used_index() == 1);
  machine.console.room = 1500;
  machine.device->on_event(0, machine.bench);
  CHECK(machine.console.text.size() == 1510);
  machine.console.room = 1u << 30;
  machine.device->on_event(0, machine.bench);
  CHECK(machine.console.text.size() == 60'000);
}

TEST_CASE("what the host sends to a guest that does not read stays bounded", "[virtio]") {
  Machine machine;
  const std::vector<std::byte> much(Console::kMaxToGuest);
  CHECK(machine.device->send(0, much) == much.size());
  CHECK(machine.device->send(0, much) == 0);
}

TEST_CASE("a control flood and odd chains are counted and bounded", "[virtio]") {
  Machine machine;
  for (std::uint16_t i = 0; i < 500; ++i) machine.device->set_window(i, 25);
  for (int i = 0; i < 20; ++i) machine.say(0, 3, 1);
  auto& driver = machine.bench.drivers[3];
  driver.submit({driver.readable("tiny")});
  driver.submit({driver.writable(8)});
  machine.bench.serve(3);
  CHECK(machine.device->counters().bad_chains == 2);
  auto& output = machine.bench.drivers[1];
  output.submit({output.readable(std::string(100'000, 'y'))});
  machine.bench.serve(1);
  CHECK(machine.console.text.size() == Console::kMaxWrite);
}

TEST_CASE("a console's state survives, with bytes on their way", "[virtio]") {
  Machine machine;
  machine.say(0, 0, 1);
  machine.say(1, 3, 1);
  machine.say(1, 6, 1);
  machine.agent.room = 0;
  machine.bench.drivers[5].submit({machine.bench.drivers[5].readable("held")});
  machine.bench.serve(5);
  machine.device->send(1, std::as_bytes(std::span("ping", 4)));
  const auto state = machine.device->save_state();

  Machine other;
  REQUIRE(other.device->load_state(state).ok());
  CHECK(other.agent.open);
  const auto room = other.bench.drivers[4].writable(10);
  other.bench.drivers[4].submit({room});
  other.device->on_event(0, other.bench);
  CHECK(other.bench.drivers[4].text(room, 4) == "ping");
  CHECK(other.agent.text == "held");
  Sink sink;
  auto smaller = Console::create({{.sink = &sink}}).value();
  CHECK(smaller->load_state(state).error().reason() == "DEVICE_STATE");
  CHECK(smaller->load_state("x").error().reason() == "DEVICE_STATE");
  CHECK(Console::create({}).error().reason() == "CONSOLE_PORTS");
}
