#include "hypervisor_core/net/passt_backend.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/unix_socket.h"
#include "hypervisor_core/net/gather.h"

namespace reeve::core {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kBufferBytes = 4 * (kMaxFrameBytes + kLengthBytes);

}  // namespace

Result<std::unique_ptr<PasstBackend>> PasstBackend::connect(const std::filesystem::path& socket) {
  auto fd = connect_unix(socket, SocketWaits::No);
  if (!fd.ok())
    return Error{Code::Unavailable, "PASST_NOT_THERE", "passt: " + fd.error().message()};
  return adopt(std::move(fd).value());
}

Result<std::unique_ptr<PasstBackend>> PasstBackend::adopt(Fd socket) {
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return errno_error("preparing the socket of passt");
  std::unique_ptr<PasstBackend> passt(new PasstBackend(std::move(socket)));
  passt->received_.resize(kBufferBytes);
  return passt;
}

/// False while the socket is full.
bool PasstBackend::send_rest() {
  while (!rest_.empty()) {
    const ssize_t n = ::send(socket_.get(), rest_.data(), rest_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) {
      lost_ = true;
      rest_.clear();
      return true;
    }
    rest_.erase(rest_.begin(), rest_.begin() + n);
  }
  return true;
}

NetOutcome PasstBackend::send(std::uint16_t /*pair*/, std::span<const iovec> frame) {
  if (lost_) return NetOutcome::Lost;
  if (!send_rest()) return NetOutcome::WouldBlock;
  const std::size_t total = gather_length(frame);
  if (total <= kNetHeaderBytes || total > kNetHeaderBytes + kMaxFrameBytes)
    return NetOutcome::Dropped;
  std::array<std::byte, kLengthBytes> length{};
  store_be(length, static_cast<std::uint32_t>(total - kNetHeaderBytes));
  std::vector<iovec> out{{length.data(), length.size()}};
  gather_slice(frame, kNetHeaderBytes, out);
  msghdr message{};
  message.msg_iov = out.data();
  message.msg_iovlen = out.size();
  for (;;) {
    const ssize_t n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return NetOutcome::WouldBlock;
    if (n < 0) return lost_ = true, NetOutcome::Lost;
    gather_copy(out, static_cast<std::size_t>(n), rest_);  // the guest may change its copy at once
    return NetOutcome::Done;
  }
}

/// Reads what the socket has; false when that is nothing.
bool PasstBackend::fill() {
  if (from_ > 0) {
    std::memmove(received_.data(), received_.data() + from_, to_ - from_);
    to_ -= from_;
    from_ = 0;
  }
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), received_.data() + to_, received_.size() - to_, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0) return lost_ = true, false;
    to_ += static_cast<std::size_t>(n);
    return true;
  }
}

NetOutcome PasstBackend::receive(std::uint16_t /*pair*/, std::span<const iovec> room,
                                 std::size_t& bytes) {
  for (;;) {
    const auto ready = std::span(received_).subspan(from_, to_ - from_);
    if (ready.size() >= kLengthBytes) {
      const std::size_t length = load_be<std::uint32_t>(ready);
      if (length == 0 || length > kMaxFrameBytes) return lost_ = true, NetOutcome::Lost;
      if (ready.size() >= kLengthBytes + length) {
        from_ += kLengthBytes + length;
        bytes = kNetHeaderBytes + length;
        if (bytes > gather_length(room)) return NetOutcome::Dropped;
        const std::array<std::byte, kNetHeaderBytes> header{};
        scatter(room, 0, header);
        scatter(room, kNetHeaderBytes, ready.subspan(kLengthBytes, length));
        return NetOutcome::Done;
      }
    }
    if (lost_) return NetOutcome::Lost;
    if (!fill()) return lost_ ? NetOutcome::Lost : NetOutcome::WouldBlock;
  }
}

}  // namespace reeve::core
