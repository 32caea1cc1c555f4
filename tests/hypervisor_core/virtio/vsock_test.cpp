// Streams between a guest and UNIX sockets: both directions, credit, ends, and lies.
#include "hypervisor_core/virtio/devices/vsock.h"

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/socket.h>

#include "base/unix_socket.h"
#include "tests/hypervisor_core/virtio/device_bench.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

constexpr std::uint64_t kCid = 42;

std::string take(const Fd& socket) {
  char buffer[4096];
  const ssize_t n = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0) return "(nothing)";
  return n == 0 ? "(end)" : std::string(buffer, static_cast<std::size_t>(n));
}

void give(const Fd& socket, const std::string& text) {
  REQUIRE(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

struct Packet {
  VsockHeader header{};
  std::string data{};
};

struct Machine {
  reeve::test::TempDir dir{};
  std::unique_ptr<VsockUnixHost> host = VsockUnixHost::listen(dir / "vsock").value();
  std::unique_ptr<Vsock> device = Vsock::create(*host, kCid).value();
  DeviceBench bench{*device};
  std::vector<Buffer> rooms{};

  Machine() {
    for (int i = 0; i < 64; ++i) {
      rooms.push_back(bench.drivers[0].writable(4096));
      bench.drivers[0].submit({rooms.back()});
    }
    bench.serve(0);
  }
  void say(VsockHeader header, const std::string& data = {}) {
    header.from_cid = kCid;
    header.to_cid = 2;
    header.buffer_size = header.buffer_size == 0 ? 65536 : header.buffer_size;
    header.length = static_cast<std::uint32_t>(data.size());
    raw(header, data);
  }
  void raw(const VsockHeader& header, const std::string& data = {}) {
    auto& driver = bench.drivers[1];
    driver.reuse_room();
    if (data.empty())
      driver.submit({driver.object(header)});
    else
      driver.submit({driver.object(header), driver.readable(data)});
    bench.serve(1);
    run();
  }
  void run() { device->on_event(0, bench); }
  Packet heard() {
    const auto used = bench.drivers[0].take_used();
    if (!used) return {};
    const auto text = bench.drivers[0].text(rooms[used->id], used->length);
    Packet packet;
    std::memcpy(&packet.header, text.data(), sizeof packet.header);
    packet.data = text.substr(sizeof packet.header);
    return packet;
  }
  static VsockHeader to_host(std::uint32_t guest, std::uint32_t port, std::uint16_t operation) {
    VsockHeader header;
    header.from_port = guest;
    header.to_port = port;
    header.operation = operation;
    return header;
  }
};

}  // namespace

TEST_CASE("a guest connects to a host port and talks both ways until both end", "[virtio]") {
  Machine machine;
  const auto listener = listen_unix(machine.dir / "vsock_1024", 300).value();
  machine.say(Machine::to_host(7, 1024, kVsockRequest));
  const auto response = machine.heard().header;
  CHECK(response.operation == kVsockResponse);
  CHECK(response.from_port == 1024);
  CHECK(response.to_port == 7);
  CHECK(response.to_cid == kCid);
  const Fd far(::accept(listener.get(), nullptr, nullptr));
  machine.say(Machine::to_host(7, 1024, kVsockData), "hello host");
  CHECK(take(far) == "hello host");
  give(far, "hello guest");
  machine.run();
  const auto packet = machine.heard();
  CHECK(packet.header.operation == kVsockData);
  CHECK(packet.data == "hello guest");
  CHECK(packet.header.forwarded_bytes == 10);

  auto end = Machine::to_host(7, 1024, kVsockShutdown);
  end.flags = kVsockNoMoreSend;
  machine.say(end);
  CHECK(take(far) == "(end)");
  give(far, "last words");
  machine.run();
  CHECK(machine.heard().data == "last words");
  ::shutdown(far.get(), SHUT_WR);
  machine.run();
  CHECK(machine.heard().header.operation == kVsockShutdown);
  end.flags = kVsockNoMoreReceive | kVsockNoMoreSend;
  machine.say(end);
  CHECK(machine.heard().header.operation == kVsockReset);
  CHECK(machine.device->connections() == 0);
}

TEST_CASE("a program on the host connects to a port of the guest", "[virtio]") {
  Machine machine;
  const auto program = connect_unix(machine.dir / "vsock", SocketWaits::Yes).value();
  give(program, "CONN");
  machine.run();
  give(program, "ECT 22\nSSH-2.0");
  machine.run();
  const auto request = machine.heard().header;
  CHECK(request.operation == kVsockRequest);
  CHECK(request.to_port == 22);
  CHECK(take(program) == "(nothing)");
  machine.say(Machine::to_host(22, request.from_port, kVsockResponse));
  CHECK(take(program) == "OK " + std::to_string(request.from_port) + "\n");
  CHECK(machine.heard().data == "SSH-2.0");
  machine.say(Machine::to_host(22, request.from_port, kVsockData), "banner");
  CHECK(take(program) == "banner");
  machine.say(Machine::to_host(22, request.from_port, kVsockReset));
  CHECK(take(program) == "(end)");
  CHECK(machine.device->connections() == 0);
}

TEST_CASE("a program that does not speak the greeting is hung up on", "[virtio]") {
  Machine machine;
  for (const std::string line :
       {"GET / HTTP/1.0\n", "CONNECT x\n", "CONNECT 99999999999\n", "CONNECT \n"}) {
    const auto program = connect_unix(machine.dir / "vsock", SocketWaits::Yes).value();
    give(program, line);
    machine.run();
    CHECK(take(program).substr(0, 2) != "OK");
    CHECK(machine.device->connections() == 0);
  }
  const auto endless = connect_unix(machine.dir / "vsock", SocketWaits::Yes).value();
  give(endless, std::string(1000, 'A'));
  machine.run();
  CHECK(machine.device->connections() == 0);
  CHECK(machine.heard().header.operation == 0);
}

TEST_CASE("of programs that say nothing the oldest gives way, whatever its number", "[virtio]") {
  Machine machine;
  const auto connect = [&] {
    auto program = connect_unix(machine.dir / "vsock", SocketWaits::Yes).value();
    machine.run();
    return program;
  };
  auto leaver = connect();
  const auto oldest = connect();
  leaver.reset();
  machine.run();
  const auto newer = connect();  // has the leaver's descriptor, the lowest
  std::vector<Fd> more;
  for (int i = 0; i < 62; ++i) more.push_back(connect());
  CHECK(take(oldest) == "(end)");
  CHECK(take(newer) == "(nothing)");
}

TEST_CASE("a port that nobody listens on is refused", "[virtio]") {
  Machine machine;
  machine.say(Machine::to_host(7, 9, kVsockRequest));
  CHECK(machine.heard().header.operation == kVsockReset);
  machine.say(Machine::to_host(7, 9, kVsockData), "no such connection");
  CHECK(machine.heard().header.operation == kVsockReset);
  CHECK(machine.device->counters().refused == 1);
}

TEST_CASE("the guest's credit holds data back", "[virtio]") {
  Machine machine;
  const auto listener = listen_unix(machine.dir / "vsock_1", 300).value();
  auto request = Machine::to_host(7, 1, kVsockRequest);
  request.buffer_size = 5;
  machine.say(request);
  machine.heard();
  const Fd far(::accept(listener.get(), nullptr, nullptr));
  give(far, "1234567");
  machine.run();
  CHECK(machine.heard().data == "12345");
  CHECK(machine.heard().header.operation == 0);
  auto credit = Machine::to_host(7, 1, kVsockCreditUpdate);
  credit.buffer_size = 5;
  credit.forwarded_bytes = 5;
  machine.say(credit);
  CHECK(machine.heard().data == "67");
}

TEST_CASE("a guest that sends beyond its credit is cut off, memory stays bounded", "[virtio]") {
  Machine machine;
  const auto listener = listen_unix(machine.dir / "vsock_1", 300).value();
  machine.say(Machine::to_host(7, 1, kVsockRequest));
  machine.heard();
  std::uint16_t last = 0;
  for (int i = 0; i < 2000 && last != kVsockReset; ++i) {  // nobody reads at the far end
    machine.say(Machine::to_host(7, 1, kVsockData), std::string(32'000, 'x'));
    for (auto p = machine.heard(); p.header.operation != 0; p = machine.heard())
      last = p.header.operation;
  }
  CHECK(last == kVsockReset);
  CHECK(machine.device->connections() == 0);
}

TEST_CASE("connections are limited", "[virtio]") {
  Machine machine;
  const auto listener = listen_unix(machine.dir / "vsock_1", 300).value();
  for (std::uint32_t port = 0; port < Vsock::kMaxConnections + 10; ++port)
    machine.say(Machine::to_host(port, 1, kVsockRequest));
  CHECK(machine.device->connections() == Vsock::kMaxConnections);
  CHECK(machine.device->counters().refused == 10);
}

TEST_CASE("packets that lie about length, type or sender are refused, CVE-2019-18960", "[virtio]") {
  Machine machine;
  auto header = Machine::to_host(7, 1, kVsockData);
  header.from_cid = kCid;
  header.to_cid = 2;
  SECTION("length without data") {
    header.length = 100;
    machine.raw(header);
  }
  SECTION("data without length") {
    machine.raw(header, "hidden");
  }
  SECTION("length of 4 GiB") {
    header.length = ~0u;
    machine.raw(header, "x");
  }
  SECTION("another guest's address") {
    header.from_cid = 43;
    machine.raw(header);
  }
  SECTION("to another guest") {
    header.to_cid = 43;
    machine.raw(header);
  }
  SECTION("unknown type") {
    header.type = 2;
    machine.raw(header);
  }
  SECTION("no header") {
    machine.bench.drivers[1].submit({machine.bench.drivers[1].readable("short")});
    machine.bench.serve(1);
  }
  CHECK(machine.device->counters().bad_packets == 1);
  CHECK(machine.device->connections() == 0);
}

TEST_CASE("a restored guest is told that its connections are gone", "[virtio]") {
  Machine machine;
  const auto state = machine.device->save_state();
  REQUIRE(machine.device->load_state(state).ok());
  const auto room = machine.bench.drivers[2].writable(8);
  machine.bench.drivers[2].submit({room});
  machine.bench.serve(2);
  CHECK(machine.bench.drivers[2].take_used()->length == 4);
  CHECK(Vsock::create(*machine.host, 2).error().reason() == "VSOCK_CID");
  auto other = Vsock::create(*machine.host, 43).value();
  CHECK(other->load_state(state).error().reason() == "DEVICE_STATE");
}
