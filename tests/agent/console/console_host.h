// tests/agent/console/console_host.h - a host for tests of consoles: folders, a store in memory,
// and two hypervisors that know nothing but where consoles are.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/console/consoles.h"
#include "agent/storage/sim_store.h"
#include "base/file.h"
#include "base/uuid.h"
#include "tests/support/temp_dir.h"

namespace reeve::agent {

inline constexpr auto kPatience = std::chrono::seconds(20);

/// A hypervisor that knows nothing but consoles, and answers only while it is not held.
class ConsoleDriver final : public Driver, public SerialConsole {
 public:
  std::string log{};     ///< empty: no log. Like socket, not to be changed while Consoles may ask
  std::string socket{};  ///< empty: the guest is off

  void hold() {
    Lock lock(mutex_);
    held_ = true;
  }
  void let_go() {
    Lock lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  /// False when nobody asks in time.
  bool wait_until_asked() {
    Lock lock(mutex_);
    while (asked_ == 0)
      if (changed_.wait_for(lock, kPatience) == std::cv_status::timeout) return false;
    return true;
  }
  int asked() {
    Lock lock(mutex_);
    return asked_;
  }

  Result<std::string> console_path(std::string_view /*uid*/) override {
    answer();
    if (socket.empty()) return Error{Code::FailedPrecondition, "GUEST_STATE", "it is off"};
    return socket;
  }
  Result<std::string> log_path(std::string_view uid) override {
    answer();
    if (log.empty()) return SerialConsole::log_path(uid);
    return log;
  }
  SerialConsole* serial_console() override { return this; }

  DriverFacts facts() override { return {}; }
  Result<std::vector<GuestSeen>> list() override { return unused(); }
  Result<GuestSeen> get(std::string_view /*uid*/) override { return unused(); }
  Result<std::vector<GuestUse>> use() override { return unused(); }
  Result<std::vector<std::string>> define(const GuestDefinition& /*guest*/) override {
    return unused();
  }
  Status undefine(std::string_view /*uid*/) override { return unused(); }
  Status start(std::string_view /*uid*/) override { return unused(); }
  Status request_shutdown(std::string_view /*uid*/) override { return unused(); }
  Status request_reboot(std::string_view /*uid*/) override { return unused(); }
  Status power_off(std::string_view /*uid*/) override { return unused(); }
  Status reset(std::string_view /*uid*/) override { return unused(); }
  Status pause(std::string_view /*uid*/) override { return unused(); }
  Status resume(std::string_view /*uid*/) override { return unused(); }
  bool watch(std::function<void(std::string uid)> /*changed*/) override { return false; }

 private:
  static Error unused() { return Error{Code::Unimplemented, "NOT_SUPPORTED", "not in this test"}; }
  void answer() {
    Lock lock(mutex_);
    ++asked_;
    changed_.notify_all();
    while (held_) changed_.wait(lock);
  }

  Mutex mutex_;
  CondVar changed_;
  bool held_ REEVE_GUARDED_BY(mutex_) = false;
  int asked_ REEVE_GUARDED_BY(mutex_) = 0;
};

/// Make the store's guests with make().
struct Host {
  test::TempDir dir{};
  SimDisk disk{};
  SimStore store{disk, RealClock::instance()};
  ConsoleDriver first{};
  ConsoleDriver second{};
  std::string guest = make("first");
  std::string other = make("second");

  /// It asks at once: say first what the hypervisors answer.
  Consoles serve() {
    return Consoles(dir.path().string(), store, {{"first", &first}, {"second", &second}});
  }
  std::string make(const std::string& hypervisor) {
    const std::string uid = new_uuid(SystemRandom::instance());
    REQUIRE(make_dirs(dir / uid).ok());
    disk.guests[uid].spec.set_hypervisor(hypervisor);
    return uid;
  }
  std::string file(const std::string& name) const { return (dir / name).string(); }
};

/// The guest's end of its socket, once the agent has connected.
inline Fd accept_guest(const Fd& listener) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  Fd guest{};
  while (!guest && std::chrono::steady_clock::now() < deadline)
    guest = Fd(::accept(listener.get(), nullptr, nullptr));
  REQUIRE(guest);
  const timeval patience{.tv_sec = 5, .tv_usec = 0};  // input that was lost fails a test by then
  REQUIRE(::setsockopt(guest.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  return guest;
}

/// Bytes in which a gap or a repetition shows.
inline std::string a_paste(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + i * 31 / 7 % 26);
  return bytes;
}

/// Reads `size` bytes as a slow guest does: little at a time, with pauses.
inline std::string read_slowly(const Fd& guest, std::size_t size) {
  std::string all;
  char piece[4096];
  while (all.size() < size) {
    const ssize_t n = ::read(guest.get(), piece, sizeof piece);
    if (n <= 0) break;
    all.append(piece, static_cast<std::size_t>(n));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return all;
}

}  // namespace reeve::agent
