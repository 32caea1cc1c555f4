#include "tests/hypervisor_core/lab/host_side.h"

#include <memory>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/hypervisor_core/lab/machine.h"
#include "tests/hypervisor_core/lab/traffic.h"

namespace reeve::lab {
namespace {

sockaddr_un unix_address(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

}  // namespace

void make_tap(const std::string& name, const std::string& address, bool several_queues) {
  const Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several_queues ? IFF_MULTI_QUEUE : 0);
  request.ifr_flags = static_cast<short>(flags);
  require(::ioctl(fd.get(), TUNSETIFF, &request) == 0 && ::ioctl(fd.get(), TUNSETPERSIST, 1) == 0,
          "making " + name);
  shell("ip addr add " + address + " dev " + name + " && ip link set " + name + " up");
}

Peer::Peer(Fd listener) {
  require(listener.get() >= 0 && ::listen(listener.get(), 8) == 0, "a peer listens");
  std::thread([socket = std::make_shared<Fd>(std::move(listener)), accepted = accepted_] {
    for (;;) {
      auto peer = std::make_shared<Fd>(::accept4(socket->get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!*peer) return;
      ++*accepted;
      std::thread([peer] { serve_stream(peer->get()); }).detach();
    }
  }).detach();
}

Peer Peer::at_port(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  require(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0,
          "port " + std::to_string(port));
  return Peer(std::move(socket));
}

Peer Peer::at_path(const std::filesystem::path& path) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = unix_address(path);
  std::filesystem::create_directories(path.parent_path());
  require(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
              ::chmod(path.c_str(), 0666) == 0,  // the machine's process is a user of its own
          "socket " + path.string());
  return Peer(std::move(socket));
}

Fd connect_vsock(const std::filesystem::path& path, std::uint32_t port) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = unix_address(path);
  require(
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
          write_text(socket.get(), "CONNECT " + std::to_string(port) + "\n") &&
          read_line(socket.get()).starts_with("OK "),
      "the guest takes a connection to its vsock port " + std::to_string(port));
  return socket;
}

}  // namespace reeve::lab
