// A card on a real passt, which answers DHCP for the guest.
#include <cstring>
#include <thread>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "hypervisor_core/net/passt_backend.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::core;
using namespace std::chrono_literals;

namespace {

void append16(std::string& out, std::uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}

/// Ethernet, IPv4, UDP 68 to 67 and a DHCPDISCOVER.
std::string dhcp_discover() {
  std::string dhcp("\x01\x01\x06\x00\x12\x34\x56\x78", 8);
  dhcp +=
      std::string(20, '\0') + std::string("\x52\x54\x00\x01\x02\x03", 6) + std::string(202, '\0');
  dhcp += std::string("\x63\x82\x53\x63\x35\x01\x01\xff", 8);
  dhcp.resize(300, '\0');
  std::string ip("\x45\x00", 2);
  append16(ip, static_cast<std::uint16_t>(20 + 8 + dhcp.size()));
  ip += std::string("\x00\x00\x00\x00\x40\x11\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff", 16);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < ip.size(); i += 2)
    sum += static_cast<std::uint32_t>(static_cast<unsigned char>(ip[i]) << 8 |
                                      static_cast<unsigned char>(ip[i + 1]));
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  ip[10] = static_cast<char>(~sum >> 8 & 0xff);
  ip[11] = static_cast<char>(~sum & 0xff);
  std::string udp;
  append16(udp, 68);
  append16(udp, 67);
  append16(udp, static_cast<std::uint16_t>(8 + dhcp.size()));
  append16(udp, 0);
  return std::string(6, '\xff') + std::string("\x52\x54\x00\x01\x02\x03\x08\x00", 8) + ip + udp +
         dhcp;
}

}  // namespace

TEST_CASE("passt offers the guest an address", "[net][root]") {
  const reeve::test::TempDir dir;
  // A namespace with one interface, so that passt has something to copy its configuration from.
  const std::string script =
      "ip link set lo up; ip tuntap add eth7 mode tap; ip addr add 10.77.0.5/24 dev eth7; "
      "ip link set eth7 up; ip route add default via 10.77.0.1; chmod 777 " +
      dir.path().string() + "; exec passt -f -4 -i eth7 -s " + (dir / "socket").string();
  auto passt = Process::spawn({"unshare", "-n", "sh", "-c", script}, {});
  REQUIRE(passt.ok());
  auto backend = PasstBackend::connect(dir / "socket");
  for (int i = 0; i < 100 && !backend.ok(); ++i) {
    std::this_thread::sleep_for(50ms);
    backend = PasstBackend::connect(dir / "socket");
  }
  if (!backend.ok()) passt.value().signal(SIGKILL);
  REQUIRE(backend.ok());

  std::string frame = std::string(kNetHeaderBytes, '\0') + dhcp_discover();
  const iovec out{frame.data(), frame.size()};
  CHECK(backend.value()->send(0, std::span(&out, 1)) == NetOutcome::Done);
  bool offered = false;
  for (int i = 0; i < 20 && !offered; ++i) {
    pollfd wait{backend.value()->fd(0), POLLIN, 0};
    ::poll(&wait, 1, 500);
    std::string in(2048, '\0');
    const iovec room{in.data(), in.size()};
    std::size_t bytes = 0;
    while (backend.value()->receive(0, std::span(&room, 1), bytes) == NetOutcome::Done)
      offered = offered || in.find(std::string("\x35\x01\x02", 3)) != std::string::npos;
  }
  CHECK(offered);
  passt.value().signal(SIGKILL);
  CHECK(passt.value().wait(10s).ok());
}
