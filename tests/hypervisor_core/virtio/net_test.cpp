// The network device between a driver and a loopback far end.
#include "hypervisor_core/virtio/devices/net.h"

#include <catch2/catch.hpp>

#include "base/bytes.h"
#include "hypervisor_core/net/loopback_backend.h"
#include "tests/hypervisor_core/virtio/device_bench.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

constexpr std::uint64_t kMergeable = 1u << 15;
constexpr NetOptions kOptions{.mac = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}, .mtu = 1400};

struct Card {
  LoopbackBackend::Ends ends;
  std::unique_ptr<Net> net;
  std::unique_ptr<DeviceBench> bench;

  explicit Card(Offloads offloads = {}, std::uint64_t without = 0)
      : ends(LoopbackBackend::create(offloads).value()),
        net(Net::create(*ends.first, kOptions).value()),
        bench(std::make_unique<DeviceBench>(*net, without)) {}
  DriverSide& receive() { return bench->drivers[0]; }
  DriverSide& transmit() { return bench->drivers[1]; }
  DriverSide& control() { return bench->drivers[2]; }

  void arrive(const std::string& frame) {
    std::string bytes = std::string(kNetHeaderBytes, '\0') + frame;
    const iovec range{bytes.data(), bytes.size()};
    REQUIRE(ends.second->send(0, std::span(&range, 1)) == NetOutcome::Done);
  }
  std::string far_end() {
    std::string bytes(70'000, '\0');
    const iovec range{bytes.data(), bytes.size()};
    std::size_t length = 0;
    if (ends.second->receive(0, std::span(&range, 1), length) != NetOutcome::Done)
      return "(nothing)";
    return bytes.substr(kNetHeaderBytes, length - kNetHeaderBytes);
  }
  void event() { net->on_event(0, *bench); }
  int command(std::uint8_t family, std::uint8_t command, const std::string& data) {
    const auto ack = control().writable(1);
    control().submit(
        {control().readable(std::string{static_cast<char>(family), static_cast<char>(command)}),
         control().readable(data), ack});
    bench->serve(2);
    REQUIRE(control().take_used());
    return control().text(ack)[0];
  }
};

std::uint16_t buffers_of(const std::string& received) {
  return load_le<std::uint16_t>(std::as_bytes(std::span(received)).subspan(10));
}

}  // namespace

TEST_CASE("frames go out without their header's layout mattering", "[virtio]") {
  Card card;
  const std::string frame = "to the far end";
  card.transmit().submit({card.transmit().readable(std::string(12, '\0') + frame)});
  card.transmit().submit({card.transmit().readable(std::string(5, '\0')),
                          card.transmit().readable(std::string(7, '\0') + "split"),
                          card.transmit().readable(" frame")});
  card.bench->serve(1);
  CHECK(card.far_end() == frame);
  CHECK(card.far_end() == "split frame");
  CHECK(card.net->counters().sent_frames == 2);
  CHECK(card.net->counters().sent_bytes == 25);
}

TEST_CASE("a frame that fits arrives in one buffer", "[virtio]") {
  Card card;
  const auto room = card.receive().writable(1526);
  card.receive().submit({room});
  card.arrive("hello guest");
  card.event();
  const auto used = card.receive().take_used();
  REQUIRE(used);
  const auto text = card.receive().text(room, used->length);
  CHECK(text.substr(12) == "hello guest");
  CHECK(buffers_of(text) == 1);
}

TEST_CASE("a large frame is spread over mergeable buffers", "[virtio]") {
  Card card;
  std::vector<Buffer> rooms;
  for (int i = 0; i < 4; ++i) {
    rooms.push_back(card.receive().writable(1000));
    card.receive().submit({rooms.back()});
  }
  std::string frame(2500, 'x');
  frame[999] = '!';
  card.arrive(frame);
  card.event();
  std::string all;
  for (int i = 0; i < 3; ++i)
    all +=
        card.receive().text(rooms[static_cast<std::size_t>(i)], card.receive().take_used()->length);
  CHECK(buffers_of(all) == 3);
  CHECK((all.substr(12) == frame));
  CHECK_FALSE(card.receive().take_used());
  CHECK(card.net->counters().received_frames == 1);
}

TEST_CASE("frames after a large one arrive whole, whatever their size", "[virtio]") {
  Card card;
  std::vector<Buffer> rooms;
  for (int i = 0; i < 12; ++i) {
    rooms.push_back(card.receive().writable(1000));
    card.receive().submit({rooms.back()});
  }
  const std::vector<std::size_t> sizes{2500, 2988, 100, 2989, 1};
  for (const auto size : sizes) card.arrive(std::string(size, static_cast<char>('a' + size % 26)));
  card.event();
  std::size_t next = 0;
  for (const auto size : sizes) {
    CAPTURE(size);
    std::string all;
    const std::size_t buffers = (kNetHeaderBytes + size + 999) / 1000;
    for (std::size_t i = 0; i < buffers; ++i) {
      const auto used = card.receive().take_used();
      REQUIRE(used);
      all += card.receive().text(rooms[next++], used->length);
    }
    CHECK(buffers_of(all) == buffers);
    CHECK((all.substr(kNetHeaderBytes) == std::string(size, static_cast<char>('a' + size % 26))));
  }
  CHECK(next == 12);
  CHECK(card.net->counters().received_frames == sizes.size());
  CHECK(card.bench->queues[0]->in_flight() == 0);
}

TEST_CASE("a buffer without room ends what a large frame borrows and goes back empty", "[virtio]") {
  Card card;
  const auto submit_room = [&] { card.receive().submit({card.receive().writable(1000)}); };
  for (int i = 0; i < 3; ++i) submit_room();
  card.arrive(std::string(2500, 'x'));
  card.event();
  CHECK(card.receive().used_index() == 3);
  submit_room();
  card.receive().submit({card.receive().readable("no room")});
  submit_room();
  card.arrive("small");
  card.arrive("smaller");
  card.event();
  CHECK(card.receive().used_index() == 6);
  CHECK(card.net->counters().received_frames == 3);
  CHECK(card.net->counters().bad_chains == 1);
}

TEST_CASE("a frame without enough buffers waits for more and is not lost", "[virtio]") {
  Card card;
  card.receive().submit({card.receive().writable(1000)});
  card.arrive(std::string(1500, 'x'));
  card.arrive("second");
  card.event();
  CHECK(card.receive().used_index() == 0);
  CHECK(card.bench->queues[0]->in_flight() == 0);
  card.receive().submit({card.receive().writable(1000)});
  card.receive().submit({card.receive().writable(1000)});
  card.bench->serve(0);
  CHECK(card.receive().used_index() == 3);
  CHECK(card.net->counters().received_frames == 2);
}

TEST_CASE("without mergeable buffers a frame that does not fit is dropped", "[virtio]") {
  Card card({}, kMergeable);
  card.receive().submit({card.receive().writable(500)});
  const auto room = card.receive().writable(1526);
  card.receive().submit({room});
  card.arrive(std::string(1000, 'x'));
  card.arrive("small");
  card.event();
  CHECK(card.net->counters().dropped_in == 1);
  CHECK(card.receive().take_used()->length == 0);
  CHECK(card.receive().text(room, card.receive().take_used()->length).substr(12) == "small");
}

TEST_CASE("hostile frames are returned and counted", "[virtio]") {
  Card card;
  card.transmit().submit({card.transmit().readable("short")});
  card.transmit().submit({card.transmit().readable(std::string(12, '\0'))});
  card.transmit().submit({card.transmit().writable(100)});
  card.transmit().submit({card.transmit().readable(std::string(70'000, 'x'))});
  card.bench->serve(1);
  CHECK(card.net->counters().bad_chains == 4);
  CHECK(card.far_end() == "(nothing)");
  card.receive().submit({card.receive().readable("not writable")});
  card.receive().submit({card.receive().writable(4)});
  card.receive().submit({card.receive().writable(1526)});
  card.arrive("frame");
  card.event();
  CHECK(card.net->counters().received_frames == 1);
}

TEST_CASE("a full far end stops sending until there is room", "[virtio]") {
  Card card;
  for (int i = 0; i < 250; ++i) {
    card.transmit().reuse_room();
    card.transmit().submit({card.transmit().readable(std::string(12 + 60'000, '\0'))});
  }
  card.bench->serve(1);
  const auto before = card.net->counters().sent_frames.load();
  CHECK(before < 250);
  for (std::uint64_t taken = 0; taken < 250;) {
    while (card.far_end() != "(nothing)") ++taken;
    card.event();
  }
  CHECK(card.net->counters().sent_frames == 250);
  CHECK(card.net->counters().dropped_out == 0);
}

TEST_CASE("the guest chooses its offloads within what was agreed", "[virtio]") {
  Card card({.checksum = true, .tso4 = true});
  CHECK(card.ends.first->guest_offloads() == Offloads{.checksum = true, .tso4 = true});
  std::string bits(8, '\0');
  bits[0] = 2;  // checksum only
  CHECK(card.command(5, 0, bits) == 0);
  CHECK(card.ends.first->guest_offloads() == Offloads{.checksum = true});
  bits[1] = 1;  // TSO for IPv6 was not agreed
  CHECK(card.command(5, 0, bits) == 1);
  CHECK(card.command(5, 0, "x") == 1);
  CHECK(card.command(4, 0, std::string("\x02\x00", 2)) == 1);  // one pair only
  CHECK(card.command(9, 9, "x") == 1);

  const auto state = card.net->save_state();
  Card other({.checksum = true, .tso4 = true});
  REQUIRE(other.net->load_state(state).ok());
  CHECK(other.ends.first->guest_offloads() == Offloads{.checksum = true});
  Card poorer;
  CHECK(poorer.net->load_state(state).error().reason() == "DEVICE_STATE");
  CHECK(poorer.net->load_state("garbage").error().reason() == "DEVICE_STATE");
}

TEST_CASE("the configuration tells address, link and MTU; a lost backend takes the link down",
          "[virtio]") {
  struct Listener final : NetEvents {
    void backend_lost() override { ++lost; }
    int lost = 0;
  } listener;
  auto ends = LoopbackBackend::create().value();
  auto options = kOptions;
  options.events = &listener;
  auto net = Net::create(*ends.first, options).value();
  DeviceBench bench(*net);
  std::array<std::byte, 12> config{};
  net->read_config(0, config);
  CHECK(std::to_integer<int>(config[5]) == 0xcc);
  CHECK(load_le<std::uint16_t>(std::span(config).subspan(6)) == 1);
  CHECK(load_le<std::uint16_t>(std::span(config).subspan(10)) == 1400);
  ends.second.reset();
  bench.drivers[0].submit({bench.drivers[0].writable(1526)});
  net->on_event(0, bench);
  net->read_config(0, config);
  CHECK(load_le<std::uint16_t>(std::span(config).subspan(6)) == 0);
  CHECK(bench.interrupts.config == 1);
  CHECK(listener.lost == 1);
  auto bad = kOptions;
  bad.mac[0] = 1;
  CHECK(Net::create(*ends.first, bad).error().reason() == "NIC_MAC");
}
