#include "agent/console/consoles.h"

#include <chrono>
#include <fstream>

#include <catch2/catch.hpp>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "tests/agent/console/console_host.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

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
  const Fd guest_side = accept_guest(listener);
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

/// Types as a relay does: what was not taken again after each wake.
class Typist {
 public:
  Typist(Consoles& consoles, std::string uid, std::string text)
      : consoles_(consoles), uid_(std::move(uid)), text_(std::move(text)) {
    id_ = consoles_.attach(uid_, [this] { type(); }).value();
    type();
  }
  ~Typist() { consoles_.detach(id_); }

 private:
  void type() {
    Lock lock(mutex_);
    if (!text_.empty()) text_.erase(0, consoles_.write(uid_, text_));
  }

  Consoles& consoles_;
  const std::string uid_;
  Consoles::ReaderId id_ = 0;
  Mutex mutex_;
  std::string text_ REEVE_GUARDED_BY(mutex_);
};

TEST_CASE("a paste of 256 KiB reaches a slow guest whole and in order", "[console]") {
  Host host;
  host.first.socket = host.file("serial");
  const auto listener = listen_unix(host.first.socket, 4).value();
  Consoles consoles = host.serve();
  const std::string paste = a_paste(256u << 10);
  const Typist typist(consoles, host.guest, paste);
  const Fd guest_side = accept_guest(listener);
  CHECK(read_slowly(guest_side, paste.size()) == paste);
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
