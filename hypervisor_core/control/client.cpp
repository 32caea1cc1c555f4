#include "hypervisor_core/control/client.h"

#include <algorithm>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.h"

namespace reeve::core::control {
namespace {

Error gone() {
  return Error{Code::Unavailable, "VMM_GONE", "reeve-vmm closed the control connection"};
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::filesystem::path& path) {
  auto socket = connect_unix(path, SocketWaits::Yes);
  if (!socket.ok()) return Error{Code::Unavailable, "VMM_NOT_THERE", socket.error().message()};
  return ControlClient(std::move(socket).value());
}

Result<std::optional<v1::ControlMessage>> ControlClient::receive(Deadline deadline) {
  for (;;) {
    auto frame = TRY(reader_.next());
    if (frame) {
      v1::ControlMessage message;
      if (!message.ParseFromString(*frame)) return gone();
      return std::optional(std::move(message));
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd wait{socket_.get(), POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready == 0) return std::optional<v1::ControlMessage>{};
    char bytes[16384];
    const ssize_t got = ::recv(socket_.get(), bytes, sizeof bytes, 0);
    if (got > 0)
      reader_.feed({bytes, static_cast<std::size_t>(got)});
    else if (got == 0 || errno != EINTR)
      return gone();
  }
}

Result<v1::ControlReply> ControlClient::call(v1::ControlRequest request,
                                             std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  request.set_id(next_id_++);
  std::string frame;
  append_frame(frame, request.SerializeAsString());
  for (std::size_t sent = 0; sent < frame.size();) {
    const ssize_t n = ::send(socket_.get(), frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return gone();
    sent += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  for (;;) {
    auto message = TRY(receive(deadline));
    if (!message)
      return Error{Code::DeadlineExceeded, "VMM_SILENT", "reeve-vmm did not answer in time"};
    if (message->has_event()) {
      events_.push_back(std::move(*message->mutable_event()));
      continue;
    }
    auto& reply = *message->mutable_reply();
    if (reply.id() != request.id()) continue;  // of a call that timed out
    if (!reply.has_error()) return std::move(reply);
    const auto& error = reply.error();
    const bool known = error.code() >= 1 && error.code() <= 16;
    return Error::from_wire(known ? static_cast<Code>(error.code()) : Code::Unknown, error.reason(),
                            error.message());
  }
}

Result<std::optional<v1::ControlEvent>> ControlClient::next_event(
    std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (events_.empty()) {
    auto message = TRY(receive(deadline));
    if (!message) return std::optional<v1::ControlEvent>{};
    if (message->has_event()) events_.push_back(std::move(*message->mutable_event()));
  }
  std::optional<v1::ControlEvent> event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace reeve::core::control
