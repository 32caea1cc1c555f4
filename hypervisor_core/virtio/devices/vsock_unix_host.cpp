#include <unistd.h>

#include "base/unix_socket.h"
#include "hypervisor_core/virtio/devices/vsock.h"

namespace reeve::core::virtio {

Result<std::unique_ptr<VsockUnixHost>> VsockUnixHost::listen(const std::filesystem::path& prefix) {
  (void)::unlink(prefix.c_str());  // what a process that was killed left behind
  Fd listener = TRY(listen_unix(prefix, 16));
  return std::unique_ptr<VsockUnixHost>(new VsockUnixHost(prefix, std::move(listener)));
}

VsockUnixHost::~VsockUnixHost() {
  ::unlink(prefix_.c_str());
}

Result<Fd> VsockUnixHost::connect(std::uint32_t port) {
  return connect_unix(prefix_.native() + "_" + std::to_string(port), SocketWaits::No);
}

}  // namespace reeve::core::virtio
