#include "hypervisor_core/control/client.h"

#include <algorithm>
#include <cerrno>
#include <thread>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "hypervisor_core/control/said.h"

namespace reeve::core::control {
namespace {

using std::chrono::steady_clock;

constexpr auto kAskAgain = std::chrono::milliseconds(5);

Error gone() {
  return Error{Code::Unavailable, "VMM_GONE", "reeve-vmm closed the control connection"};
}

Error silent(const std::string& what) {
  return Error{Code::DeadlineExceeded, "VMM_SILENT", "reeve-vmm " + what};
}

/// False when `deadline` passes first.
bool wait_for(int fd, short what, steady_clock::time_point deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
  pollfd one{fd, what, 0};
  return poll(&one, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30))) != 0;
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::filesystem::path& path,
                                             std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  for (;;) {
    auto socket = connect_unix(path, SocketWaits::No);
    if (socket.ok()) return ControlClient(std::move(socket).value());
    if (socket.error().reason() != "SOCKET_FULL")
      return Error{Code::Unavailable, "VMM_NOT_THERE", socket.error().message()};
    // Nothing tells when there is room.
    if (steady_clock::now() + kAskAgain > deadline)
      return silent("takes no callers: those before still wait at '" + path.native() + "'");
    std::this_thread::sleep_for(kAskAgain);
  }
}

/// The other side may be anybody's by now: what it does is not followed any further.
Error ControlClient::faulty(const std::string& how) {
  socket_.reset();
  events_.clear();
  return Error(Code::Internal, "VMM_FAULTY",
               "reeve-vmm " + how + "; the connection to it is closed")
      .remedy("stop the machine by force: its process does what no reeve-vmm does");
}

Status ControlClient::send_by(v1::ControlRequest& request, Deadline deadline) {
  request.set_id(next_id_++);
  const auto message = request.SerializeAsString();
  if (message.size() > kMaxMessage)
    return Error{Code::InvalidArgument, "CONTROL_FRAME",
                 "what the machine is asked has " + std::to_string(message.size()) +
                     " bytes, allowed are " + std::to_string(kMaxMessage)};
  std::string frame;
  append_frame(frame, message);
  for (std::size_t sent = 0; sent < frame.size();) {
    const ssize_t n = ::send(socket_.get(), frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL);
    if (n > 0)
      sent += static_cast<std::size_t>(n);
    else if (errno != EINTR && errno != EAGAIN)
      return gone();
    else if (!wait_for(socket_.get(), POLLOUT, deadline))
      return silent("does not read what it is asked");
  }
  return {};
}

/// What is there is taken also when no time is left, but a stream without end is not followed.
Result<std::optional<v1::ControlMessage>> ControlClient::receive(Deadline deadline) {
  if (!socket_) return gone();
  for (bool first = true;; first = false) {
    const auto frame = reader_.next();
    if (!frame.ok()) return faulty("sent a message that is too long");
    if (frame.value()) {
      v1::ControlMessage message;
      if (!message.ParseFromString(*frame.value())) return faulty("sent what is not a message");
      make_passable(message);
      return std::optional(std::move(message));
    }
    if (!first && steady_clock::now() >= deadline) return std::optional<v1::ControlMessage>{};
    if (!wait_for(socket_.get(), POLLIN, deadline)) return std::optional<v1::ControlMessage>{};
    char bytes[16384];
    const ssize_t got = ::recv(socket_.get(), bytes, sizeof bytes, 0);
    if (got > 0)
      reader_.feed({bytes, static_cast<std::size_t>(got)});
    else if (got == 0 || (errno != EINTR && errno != EAGAIN))
      return gone();
  }
}

Status ControlClient::send(v1::ControlRequest request, std::chrono::milliseconds timeout) {
  return send_by(request, steady_clock::now() + timeout);
}

Result<v1::ControlReply> ControlClient::call(v1::ControlRequest request,
                                             std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  TRY(send_by(request, deadline));
  std::size_t kept = 0, kept_bytes = 0;
  do {
    auto message = TRY(receive(deadline));
    if (!message) break;
    if (message->has_event()) {
      kept_bytes += message->event().ByteSizeLong();
      if (++kept > kMaxKeptEvents || kept_bytes > kMaxKeptBytes)
        return faulty("sent " + std::to_string(kept) + " events of " + std::to_string(kept_bytes) +
                      " bytes before its answer, allowed are " + std::to_string(kMaxKeptEvents) +
                      " of " + std::to_string(kMaxKeptBytes));
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
  } while (steady_clock::now() < deadline);
  return silent("did not answer in time");
}

Result<std::optional<v1::ControlEvent>> ControlClient::next_event(
    std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  while (events_.empty()) {
    auto message = TRY(receive(deadline));
    if (message && message->has_event())
      events_.push_back(std::move(*message->mutable_event()));
    else if (!message || steady_clock::now() >= deadline)
      return std::optional<v1::ControlEvent>{};
  }
  std::optional<v1::ControlEvent> event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace reeve::core::control
