// A card on a real tap device, in a network namespace of its own.
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "hypervisor_core/net/tap_backend.h"
#include "hypervisor_core/virtio/devices/net.h"
#include "tests/hypervisor_core/virtio/device_bench.h"

using namespace reeve;
using namespace reeve::core;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

namespace {

/// Gives an interface of this namespace an address and switches it on.
bool bring_up(const char* name, const char* address) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  auto* in = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  in->sin_family = AF_INET;
  ::inet_pton(AF_INET, address, &in->sin_addr);
  if (::ioctl(socket.get(), SIOCSIFADDR, &request) != 0) return false;
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0;
}

/// "who has 10.9.8.1, tell 10.9.8.2", from the guest's address.
std::string arp_request() {
  const unsigned char bytes[] = {
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 2, 3, 8, 6, 0, 1, 8, 0,  6, 4, 0,
      1,    0x52, 0x54, 0,    1,    2,    3,    10,   9, 8, 2, 0, 0, 0, 0, 0, 0, 10, 9, 8, 1};
  return {reinterpret_cast<const char*>(bytes), sizeof bytes};
}

struct Outcome {
  bool attached = false, up = false, answered = false;
  std::string error{};
};

Outcome ask_over_tap(std::uint16_t pairs) {
  Outcome outcome;
  if (::unshare(CLONE_NEWNET) != 0) return {.error = "unshare"};
  auto tap = TapBackend::open("reeve-test", pairs);
  if (!tap.ok()) return {.error = tap.error().message()};
  outcome.attached = true;
  outcome.up = bring_up("reeve-test", "10.9.8.1");
  auto net = Net::create(*tap.value(), {.mac = {0x52, 0x54, 0, 1, 2, 3}});
  DeviceBench bench(*net.value(), 0, 0x40000);
  auto& receive = bench.drivers[0];
  auto& send = bench.drivers[1];
  std::vector<Buffer> rooms;
  for (int i = 0; i < 20; ++i) {
    rooms.push_back(receive.writable(1526));
    receive.submit({rooms.back()});
  }
  bench.serve(0);
  send.submit({send.readable(std::string(12, '\0') + arp_request())});
  bench.serve(1);
  for (int i = 0; i < 50 && !outcome.answered; ++i) {
    pollfd wait{tap.value()->fd(0), POLLIN, 0};
    ::poll(&wait, 1, 200);
    net.value()->on_event(0, bench);
    while (auto used = receive.take_used()) {
      const auto frame = receive.text(rooms[used->id], used->length).substr(12);
      if (frame.substr(12, 2) == "\x08\x06" && frame[21] == 2) outcome.answered = true;
    }
  }
  return outcome;
}

}  // namespace

TEST_CASE("the host's kernel answers a guest's ARP over a tap device", "[net][root]") {
  const auto pairs = GENERATE(std::uint16_t{1}, std::uint16_t{2});
  Outcome outcome;
  std::thread([&] { outcome = ask_over_tap(pairs); }).join();  // the namespace ends with the thread
  INFO(outcome.error);
  CHECK(outcome.attached);
  CHECK(outcome.up);
  CHECK(outcome.answered);
}
