#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hypervisor_core/virtio/devices/vsock.h"

namespace reeve::core::virtio {
namespace {

Result<sockaddr_un> address_of(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.empty() || name.size() >= sizeof address.sun_path)
    return Error{Code::InvalidArgument, "VSOCK_PATH", "the socket's name is too long"};
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

}  // namespace

Result<std::unique_ptr<VsockUnixHost>> VsockUnixHost::listen(const std::filesystem::path& prefix) {
  const auto address = TRY(address_of(prefix.native()));
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return errno_error("making a socket");
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error("binding '" + prefix.native() + "'");
  if (::listen(listener.get(), 16) != 0)
    return errno_error("listening on '" + prefix.native() + "'");
  return std::unique_ptr<VsockUnixHost>(new VsockUnixHost(prefix, std::move(listener)));
}

VsockUnixHost::~VsockUnixHost() {
  ::unlink(prefix_.c_str());
}

Result<Fd> VsockUnixHost::connect(std::uint32_t port) {
  const auto address = TRY(address_of(prefix_.native() + "_" + std::to_string(port)));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_error("making a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error("connecting to the host's port " + std::to_string(port));
  return socket;
}

}  // namespace reeve::core::virtio
