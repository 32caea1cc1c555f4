#include "hypervisor_core/net/loopback_backend.h"

#include <cerrno>

#include <sys/socket.h>

namespace reeve::core {

Result<LoopbackBackend::Ends> LoopbackBackend::create(Offloads offloads) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return errno_error("making a socket pair");
  Fd first(ends[0]), second(ends[1]);
  return Ends{std::unique_ptr<LoopbackBackend>(new LoopbackBackend(std::move(first), offloads)),
              std::unique_ptr<LoopbackBackend>(new LoopbackBackend(std::move(second), offloads))};
}

NetOutcome LoopbackBackend::send(std::uint16_t /*pair*/, std::span<const iovec> frame) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(frame.data());
  message.msg_iovlen = frame.size();
  const ssize_t n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  if (n >= 0) return NetOutcome::Done;
  if (errno == EAGAIN || errno == EINTR) return NetOutcome::WouldBlock;
  return errno == EPIPE ? NetOutcome::Lost : NetOutcome::Dropped;
}

NetOutcome LoopbackBackend::receive(std::uint16_t /*pair*/, std::span<const iovec> room,
                                    std::size_t& bytes) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(room.data());
  message.msg_iovlen = room.size();
  const ssize_t n = ::recvmsg(socket_.get(), &message, 0);
  if (n == 0) return NetOutcome::Lost;
  if (n < 0) return NetOutcome::WouldBlock;
  bytes = static_cast<std::size_t>(n);
  return (message.msg_flags & MSG_TRUNC) != 0 ? NetOutcome::Dropped : NetOutcome::Done;
}

}  // namespace reeve::core
