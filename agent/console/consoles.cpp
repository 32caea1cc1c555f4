#include "agent/console/consoles.h"

#include <cerrno>
#include <cstring>
#include <set>

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/console/log_follower.h"
#include "base/file.h"
#include "base/log.h"
#include "base/uuid.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

constexpr auto kBusyPace = 20ms;
constexpr auto kIdlePace = 2s;
constexpr auto kKeepSocket = 5s;
constexpr auto kConnectPace = 500ms;
constexpr std::size_t kSlice = 1u << 20;
constexpr std::size_t kInputLimit = 64u << 10;

Monotonic now() {
  return RealClock::instance().monotonic();
}

/// A UNIX socket or a character device, open for both directions, not blocking.
Result<Fd> open_console(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno_error("looking at '" + path + "'");
  if (S_ISCHR(st.st_mode)) return open_file(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error{Code::InvalidArgument, "PATH_TOO_LONG", "'" + path + "' is too long for a socket"};
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("making a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error("connecting to '" + path + "'");
  return fd;
}

}  // namespace

Consoles::Consoles(std::string guests_dir, Store& store, Drivers drivers, std::uint64_t ring_bytes)
    : guests_dir_(std::move(guests_dir)),
      store_(store),
      drivers_(std::move(drivers)),
      ring_bytes_(ring_bytes) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "console");
}

Consoles::~Consoles() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    wake_thread_.notify_all();
  }
  thread_.join();
}

Status Consoles::open_ring(const std::string& uid, Guest& guest) const {
  if (guest.ring) return {};
  if (!is_uuid(uid)) return Error{Code::InvalidArgument, "BAD_UID", "not a uid"};
  auto ring = ConsoleRing::open(guests_dir_ + "/" + uid + "/console.ring", ring_bytes_);
  if (!ring.ok() && ring.error().reason() == "FILE_NOT_FOUND")
    return Error{Code::NotFound, "GUEST_FILES_NOT_FOUND", "no machine " + uid + " on this host"};
  if (!ring.ok()) return std::move(ring).error();
  guest.ring = std::move(ring).value();
  return {};
}

Result<Consoles::ReaderId> Consoles::attach(const std::string& uid, std::function<void()> wake) {
  Lock lock(mutex_);
  const bool known = guests_.contains(uid);
  Guest& guest = guests_[uid];
  auto opened = open_ring(uid, guest);
  if (!opened.ok()) {
    if (!known) guests_.erase(uid);
    return std::move(opened).error();
  }
  ++guest.readers;
  const ReaderId id = next_reader_++;
  readers_.emplace(id, Reader{uid, std::move(wake)});
  wake_thread_.notify_all();
  return id;
}

void Consoles::detach(ReaderId reader) {
  Lock lock(mutex_);
  const auto it = readers_.find(reader);
  if (it == readers_.end()) return;
  if (const auto guest = guests_.find(it->second.uid); guest != guests_.end())
    --guest->second.readers;
  readers_.erase(it);
  while (waking_ == reader) woken_.wait(lock);
}

Result<ConsoleChunk> Consoles::read(const std::string& uid, std::int64_t offset,
                                    std::size_t limit) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it == guests_.end() || !it->second.ring)
    return Error{Code::NotFound, "GUEST_FILES_NOT_FOUND", "no machine " + uid + " on this host"};
  return it->second.ring->read(offset, limit);
}

void Consoles::write(const std::string& uid, std::string bytes) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it == guests_.end()) return;
  Guest& guest = it->second;
  bytes.resize(std::min(bytes.size(), kInputLimit - std::min(kInputLimit, guest.input.size())));
  guest.input += bytes;
  guest.last_input = now();
  wake_thread_.notify_all();
}

SerialConsole* Consoles::console_of(const std::string& uid) {
  const auto spec = store_.guest(uid);
  if (!spec.ok()) return nullptr;
  const auto driver = drivers_.find(spec.value().hypervisor());
  return driver == drivers_.end() ? nullptr : driver->second->serial_console();
}

bool Consoles::take_log(const std::string& uid, Guest& guest) {
  if (guest.log_path.empty()) {
    auto* console = console_of(uid);
    if (!console) return false;
    auto path = console->log_path(uid);
    if (path.ok()) guest.log_path = path.value();
    if (!path.ok() && path.error().reason() == "NOT_SUPPORTED") guest.has_log = false;
    if (guest.log_path.empty()) return false;
  }
  const std::uint64_t before = guest.ring->end();
  const auto more = follow_log(guest.log_path, *guest.ring, kSlice);
  if (!more.ok())
    log::guest_warning("console log cannot be read",
                       {{"guest", uid}, {"error", more.error().message()}});
  return guest.ring->end() != before;
}

bool Consoles::receive(Guest& guest) {
  char buffer[65536];
  bool grown = false;
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = ::read(guest.socket.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) {
      guest.socket.reset();
      break;
    }
    if (guest.has_log) continue;  // the log has it too
    grown = guest.ring->append({buffer, static_cast<std::size_t>(n)}, {}).ok() || grown;
  }
  return grown;
}

bool Consoles::use_socket(const std::string& uid, Guest& guest) {
  const auto time = now();
  const bool wanted = !guest.has_log || !guest.input.empty();
  if (!guest.socket && wanted && time - guest.last_connect > kConnectPace) {
    guest.last_connect = time;
    auto* console = console_of(uid);
    const auto path = console ? console->console_path(uid) : Result<std::string>(std::string());
    if (path.ok() && !path.value().empty())
      if (auto fd = open_console(path.value()); fd.ok()) guest.socket = std::move(fd).value();
  }
  if (!guest.socket) {
    if (time - guest.last_input > kKeepSocket) guest.input.clear();  // nobody will take it
    return false;
  }
  if (!guest.input.empty()) {
    const ssize_t n =
        ::send(guest.socket.get(), guest.input.data(), guest.input.size(), MSG_NOSIGNAL);
    if (n > 0) guest.input.erase(0, static_cast<std::size_t>(n));
    if (n < 0 && errno == ENOTSOCK) {
      const ssize_t written = ::write(guest.socket.get(), guest.input.data(), guest.input.size());
      if (written > 0) guest.input.erase(0, static_cast<std::size_t>(written));
    }
  }
  const bool grown = receive(guest);
  if (guest.has_log && guest.input.empty() && time - guest.last_input > kKeepSocket)
    guest.socket.reset();
  return grown;
}

bool Consoles::serve(const std::string& uid, Guest& guest) {
  if (!open_ring(uid, guest).ok()) return false;
  const bool from_log = guest.has_log && take_log(uid, guest);
  const bool from_socket = use_socket(uid, guest);
  return from_log || from_socket;
}

void Consoles::scan() {
  const auto uids = store_.guests();
  Lock lock(mutex_);
  if (!uids.ok()) return;
  const std::set<std::string> there(uids.value().begin(), uids.value().end());
  for (const auto& uid : there) guests_[uid];
  std::erase_if(guests_, [&](const auto& entry) {
    return entry.second.readers == 0 && !there.contains(entry.first);
  });
}

void Consoles::run() {
  Monotonic next_scan{};
  for (;;) {
    const bool all = now() >= next_scan;
    if (all) {
      scan();
      next_scan = now() + kIdlePace;
    }
    std::vector<ReaderId> to_wake;
    bool busy = false;
    {
      Lock lock(mutex_);
      if (stopping_) return;
      std::set<std::string> grown;
      for (auto& [uid, guest] : guests_) {
        const bool used = guest.readers > 0 || guest.socket || !guest.input.empty();
        busy = busy || used;
        if ((used || all) && serve(uid, guest)) grown.insert(uid);
      }
      for (const auto& [id, reader] : readers_)
        if (grown.contains(reader.uid)) to_wake.push_back(id);
    }
    for (const ReaderId id : to_wake) {
      std::function<void()> wake;
      {
        Lock lock(mutex_);
        const auto it = readers_.find(id);
        if (it == readers_.end()) continue;
        wake = it->second.wake;
        waking_ = id;
      }
      wake();
      Lock lock(mutex_);
      waking_ = 0;
      woken_.notify_all();
    }
    Lock lock(mutex_);
    if (stopping_) return;
    if (to_wake.empty())
      wake_thread_.wait_for(lock, busy ? Monotonic::duration(kBusyPace) : next_scan - now());
  }
}

}  // namespace reeve::agent
