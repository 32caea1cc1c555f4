#include "agent/console/guest_console.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/console/log_follower.h"
#include "base/file.h"
#include "base/log.h"
#include "base/unix_socket.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

constexpr auto kKeepSocket = 5s;
constexpr auto kAskPace = 500ms;
constexpr auto kRefusalPace = 1s;
constexpr std::size_t kSlice = 1u << 20;
constexpr std::size_t kInputLimit = 64u << 10;

}  // namespace

GuestConsole::GuestConsole(std::string uid, std::string ring_path, std::uint64_t ring_bytes)
    : uid_(std::move(uid)), ring_path_(std::move(ring_path)), ring_bytes_(ring_bytes) {}

/// A UNIX socket or a character device, open for both directions, not blocking.
Result<GuestConsole::Socket> GuestConsole::open_socket(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno_error("looking at '" + path + "'");
  if (S_ISCHR(st.st_mode))
    return Socket{TRY(open_file(path, O_RDWR | O_NOCTTY | O_NONBLOCK)), true};
  return Socket{TRY(connect_unix(path, SocketWaits::No)), false};
}

Result<ConsoleChunk> GuestConsole::read(std::int64_t offset, std::size_t limit) {
  Lock lock(mutex_);
  if (ring_) return ring_->read(offset, limit);
  if (ring_error_) return *ring_error_;
  return ConsoleChunk{};
}

std::size_t GuestConsole::write(std::string_view bytes, Monotonic now) {
  Lock lock(mutex_);
  const std::size_t taken = std::min(bytes.size(), kInputLimit - input_.size());
  input_ += bytes.substr(0, taken);
  if (taken > 0) last_input_ = now;
  if (taken < bytes.size()) refused_ = now;
  return taken;
}

/// True when who has been refused should try again.
bool GuestConsole::may_type(Monotonic now) {
  if (!refused_) return false;
  if (input_.size() < kInputLimit) {
    refused_.reset();
    return true;
  }
  if (now - *refused_ < kRefusalPace) return false;
  refused_ = now;
  return true;
}

bool GuestConsole::is_open() {
  Lock lock(mutex_);
  return socket_.fd || !input_.empty();
}

bool GuestConsole::serve(Monotonic now) {
  Lock lock(mutex_);
  const bool news = open_ring();
  if (!ring_) return news;
  const bool from_log = take_log();
  const bool from_socket = use_socket(now);
  const bool room = may_type(now);
  return news || from_log || from_socket || room;
}

/// True when there is something else to tell readers than before.
bool GuestConsole::open_ring() {
  if (ring_) return false;
  auto ring = ConsoleRing::open(ring_path_, ring_bytes_);
  if (ring.ok()) {
    ring_ = std::move(ring).value();
    ring_error_.reset();
    return true;
  }
  const bool news = !ring_error_;
  ring_error_ =
      ring.error().reason() == "FILE_NOT_FOUND"
          ? Error{Code::NotFound, "GUEST_FILES_NOT_FOUND", "no machine " + uid_ + " on this host"}
          : std::move(ring).error();
  return news;
}

bool GuestConsole::take_log() {
  if (log_path_.empty()) return false;
  const std::uint64_t before = ring_->end();
  const auto more = follow_log(log_path_, *ring_, kSlice);
  if (!more.ok())
    log::guest_warning("console log cannot be read",
                       {{"guest", uid_}, {"error", more.error().message()}});
  return ring_->end() != before;
}

bool GuestConsole::use_socket(Monotonic now) {
  const bool idle = now - last_input_ > kKeepSocket;
  if (!socket_.fd) {
    if (idle) input_.clear();  // nobody will take it
    return false;
  }
  if (!input_.empty()) {
    const ssize_t n = socket_.is_device
                          ? ::write(socket_.fd.get(), input_.data(), input_.size())
                          : ::send(socket_.fd.get(), input_.data(), input_.size(), MSG_NOSIGNAL);
    if (n > 0) input_.erase(0, static_cast<std::size_t>(n));
  }
  const bool grown = receive();
  if (has_log_ && input_.empty() && idle) socket_.fd.reset();
  return grown;
}

bool GuestConsole::receive() {
  char buffer[65536];
  bool grown = false;
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = ::read(socket_.fd.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) {
      socket_.fd.reset();
      break;
    }
    if (has_log_) continue;  // the log has it too
    grown = ring_->append({buffer, static_cast<std::size_t>(n)}, {}).ok() || grown;
  }
  return grown;
}

bool GuestConsole::wants_log() const {
  return has_log_ && log_path_.empty();
}

bool GuestConsole::wants_socket() const {
  return !socket_.fd && (!has_log_ || !input_.empty());
}

bool GuestConsole::begin_asking(Monotonic now) {
  Lock lock(mutex_);
  if (!ring_ || asking_ || (!wants_log() && !wants_socket())) return false;
  if (last_asked_ && now - *last_asked_ < kAskPace) return false;
  last_asked_ = now;
  asking_ = true;
  return true;
}

void GuestConsole::ask(SerialConsole* console) {
  bool log_wanted = false;
  bool socket_wanted = false;
  {
    Lock lock(mutex_);
    log_wanted = wants_log();
    socket_wanted = wants_socket();
  }
  Result<std::string> log = std::string();
  if (console && log_wanted) log = console->log_path(uid_);
  Socket socket;
  if (console && socket_wanted) {
    const auto path = console->console_path(uid_);
    if (path.ok() && !path.value().empty())
      if (auto opened = open_socket(path.value()); opened.ok()) socket = std::move(opened).value();
  }
  Lock lock(mutex_);
  asking_ = false;
  if (!log.ok() && log.error().reason() == "NOT_SUPPORTED") {
    has_log_ = false;
    last_asked_.reset();  // the socket's turn
  } else if (log_wanted && log.ok()) {
    log_path_ = std::move(log).value();
  }
  if (socket.fd) socket_ = std::move(socket);
}

}  // namespace reeve::agent
