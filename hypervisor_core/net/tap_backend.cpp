#include "hypervisor_core/net/tap_backend.h"

#include <cerrno>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "base/file.h"

namespace reeve::core {
namespace {

constexpr std::uint16_t kMaxPairs = 8;

Result<Fd> attach(const std::string& name, bool several) {
  auto fd = TRY(open_file("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several ? IFF_MULTI_QUEUE : 0);
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0)
    return errno_error("attaching to tap '" + name + "'");
  return fd;
}

}  // namespace

Result<std::unique_ptr<TapBackend>> TapBackend::open(const std::string& name, std::uint16_t pairs) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of("/%") != std::string::npos)
    return Error{Code::InvalidArgument, "TAP_NAME", "no tap device can be called '" + name + "'"};
  if (pairs == 0 || pairs > kMaxPairs)
    return Error{Code::InvalidArgument, "NIC_PAIRS", "a card has 1 to 8 pairs of queues"};
  std::vector<Fd> queues;
  for (std::uint16_t i = 0; i < pairs; ++i) {
    auto queue = TRY(attach(name, pairs > 1));
    queues.push_back(std::move(queue));
  }
  return adopt(std::move(queues));
}

Result<std::unique_ptr<TapBackend>> TapBackend::adopt(std::vector<Fd> queues) {
  if (queues.empty() || queues.size() > kMaxPairs)
    return Error{Code::InvalidArgument, "NIC_PAIRS", "a card has 1 to 8 pairs of queues"};
  for (const auto& queue : queues) {
    int header = kNetHeaderBytes;
    if (::ioctl(queue.get(), TUNSETVNETHDRSZ, &header) != 0)
      return errno_error("setting the header of a tap device");
    const int flags = ::fcntl(queue.get(), F_GETFL);
    if (flags < 0 || ::fcntl(queue.get(), F_SETFL, flags | O_NONBLOCK) != 0)
      return errno_error("preparing a tap device");
  }
  std::unique_ptr<TapBackend> tap(new TapBackend(std::move(queues)));
  TRY(tap->set_guest_offloads({}));
  TRY(tap->use_pairs(1));
  return tap;
}

Status TapBackend::set_guest_offloads(const Offloads& wanted) {
  unsigned long flags = 0;
  if (wanted.checksum) flags |= TUN_F_CSUM;
  if (wanted.checksum && wanted.tso4) flags |= TUN_F_TSO4;
  if (wanted.checksum && wanted.tso6) flags |= TUN_F_TSO6;
  if (::ioctl(queues_.front().get(), TUNSETOFFLOAD, flags) != 0)
    return errno_error("setting the offloads of a tap device");
  return {};
}

Status TapBackend::use_pairs(std::uint16_t count) {
  if (queues_.size() == 1) return {};
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const bool wanted = i < count;
    if (attached_[i] == wanted) continue;
    ifreq request{};
    request.ifr_flags = static_cast<short>(wanted ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
    if (::ioctl(queues_[i].get(), TUNSETQUEUE, &request) != 0)
      return errno_error("changing the queues of a tap device");
    attached_[i] = wanted;
  }
  return {};
}

NetOutcome TapBackend::send(std::uint16_t pair, std::span<const iovec> frame) {
  for (;;) {
    const ssize_t n = ::writev(queues_[pair].get(), frame.data(), static_cast<int>(frame.size()));
    if (n >= 0) return NetOutcome::Done;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? NetOutcome::WouldBlock : NetOutcome::Dropped;  // EIO: the tap is down
  }
}

NetOutcome TapBackend::receive(std::uint16_t pair, std::span<const iovec> room,
                               std::size_t& bytes) {
  for (;;) {
    const ssize_t n = ::readv(queues_[pair].get(), room.data(), static_cast<int>(room.size()));
    if (n >= 0) {
      bytes = static_cast<std::size_t>(n);
      return NetOutcome::Done;
    }
    if (errno != EINTR)
      return NetOutcome::WouldBlock;  // EBADFD while detached: nothing comes either
  }
}

}  // namespace reeve::core
