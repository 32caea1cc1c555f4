#include "agent/console/consoles.h"

#include <chrono>
#include <fstream>

#include <catch2/catch.hpp>
#include <pty.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "agent/storage/sim_store.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "base/uuid.h"
#include "tests/support/temp_dir.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 20s;

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

/// Reads a console as a relay does: again after each wake.
class Reader {
 public:
  Reader(Consoles& consoles, std::string uid) : consoles_(consoles), uid_(std::move(uid)) {
    id_ = consoles_.attach(uid_, [this] { look(); }).value();
  }
  ~Reader() { consoles_.detach(id_); }

  /// What was read when `text` had come, or until patience ended.
  std::string wait_for(const std::string& text) {
    Lock lock(mutex_);
    while (seen_.find(text) == std::string::npos)
      if (changed_.wait_for(lock, kPatience) == std::cv_status::timeout) break;
    return seen_;
  }

 private:
  void look() {
    Lock lock(mutex_);
    auto chunk = consoles_.read(uid_, next_, 1u << 20);
    if (chunk.ok()) {
      next_ = static_cast<std::int64_t>(chunk.value().offset + chunk.value().data.size());
      seen_ += chunk.value().data;
    } else {
      seen_ += chunk.error().reason();
    }
    changed_.notify_all();
  }

  Consoles& consoles_;
  const std::string uid_;
  Consoles::ReaderId id_ = 0;
  Mutex mutex_;
  CondVar changed_;
  std::int64_t next_ REEVE_GUARDED_BY(mutex_) = 0;
  std::string seen_ REEVE_GUARDED_BY(mutex_);
};

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

void append(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::app) << text;
}

TEST_CASE("a hypervisor that hangs holds no console of another, and no caller", "[console]") {
  Host host;
  host.first.log = host.file("first.log");
  host.second.log = host.file("second.log");
  append(host.first.log, "first up\n");
  append(host.second.log, "second up\n");
  host.first.hold();
  Consoles consoles = host.serve();
  Reader stuck(consoles, host.guest);
  REQUIRE(host.first.wait_until_asked());

  Reader reader(consoles, host.other);
  CHECK(reader.wait_for("second up") == "second up\n");
  append(host.second.log, "and running\n");
  CHECK(reader.wait_for("running") == "second up\nand running\n");
  consoles.write(host.guest, "typed meanwhile");
  CHECK(consoles.read(host.guest, 0, 100).value().data.empty());
  { const Reader passing(consoles, host.guest); }
  CHECK(host.first.asked() == 1);  // it is not asked again while it owes an answer

  host.first.let_go();
  CHECK(stuck.wait_for("first up") == "first up\n");
}

TEST_CASE("without a log, the socket carries both directions", "[console]") {
  Host host;
  host.first.socket = host.file("serial");
  const auto listener = listen_unix(host.first.socket, 4).value();
  Consoles consoles = host.serve();
  Reader reader(consoles, host.guest);
  REQUIRE(host.first.wait_until_asked());
  Fd guest_side{};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!guest_side && std::chrono::steady_clock::now() < deadline)
    guest_side = Fd(::accept(listener.get(), nullptr, nullptr));
  REQUIRE(guest_side);
  REQUIRE(::write(guest_side.get(), "login: ", 7) == 7);
  CHECK(reader.wait_for("login: ") == "login: ");
  consoles.write(host.guest, "root\n");
  char typed[16];
  CHECK(::read(guest_side.get(), typed, sizeof typed) == 5);
}

TEST_CASE("a console that is a device takes what is typed", "[console]") {
  Host host;
  int master = -1;
  int slave = -1;
  char name[128];
  termios raw{};
  ::cfmakeraw(&raw);
  REQUIRE(::openpty(&master, &slave, name, &raw, nullptr) == 0);
  const Fd guest_side(master);
  const Fd kept(slave);
  host.first.socket = name;
  Consoles consoles = host.serve();
  Reader reader(consoles, host.guest);
  consoles.write(host.guest, "reboot\n");
  char typed[16];
  CHECK(::read(guest_side.get(), typed, sizeof typed) == 7);
  REQUIRE(::write(guest_side.get(), "booting", 7) == 7);
  CHECK(reader.wait_for("booting") == "booting");
}

TEST_CASE("who attaches to a machine that is not here is woken and told", "[console]") {
  Host host;
  Consoles consoles = host.serve();
  Reader reader(consoles, new_uuid(SystemRandom::instance()));
  CHECK(reader.wait_for("GUEST") == "GUEST_FILES_NOT_FOUND");
  CHECK(consoles.attach("../../etc", [] {}).error().reason() == "BAD_UID");
}

}  // namespace
}  // namespace reeve::agent
