// hypervisor_core/fuzz/fuzz_vsock.cpp - the socket device; the host's ends are socket pairs that
// talk back.
#include <cerrno>

#include <sys/socket.h>

#include "base/check.h"
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/virtio/devices/vsock.h"

using namespace reeve;
using namespace reeve::core;

namespace {

/// Even ports answer with a few bytes, odd ones hang up, those above 99 refuse.
class Host final : public virtio::VsockHost {
 public:
  Result<Fd> connect(std::uint32_t port) override {
    int ends[2];
    if (port > 99) return Error{Code::NotFound, "FILE_NOT_FOUND", "nobody"};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
      return errno_error("making a socket pair");
    Fd far(ends[1]);
    (void)!::send(far.get(), "hello", 5, MSG_NOSIGNAL);
    if (port % 2 == 0) far_.push_back(std::move(far));
    return Fd(ends[0]);
  }

 private:
  std::vector<Fd> far_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  Host host;
  auto device = virtio::Vsock::create(host, 3);
  REEVE_CHECK(device.ok());
  fuzz::DeviceRun(*device.value(), fuzz::shared_memory()).play(input);
  return 0;
}
