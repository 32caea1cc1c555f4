// A reeve-vmm that is anybody's by now, and what it leaves in its run directory, against who
// listens to it.
#include <atomic>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/control/frame.h"
#include "hypervisor_core/control/run_dir.h"
#include "hypervisor_core/control/said.h"
#include "tests/hypervisor_core/control/resident.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::control {
using namespace std::chrono_literals;

TEST_CASE("frames survive being cut anywhere, and too long ones end the stream", "[control]") {
  std::string stream;
  append_frame(stream, "first");
  append_frame(stream, "");
  append_frame(stream, std::string(5000, 'x'));
  FrameReader reader;
  std::vector<std::string> got;
  for (const char c : stream) {
    reader.feed({&c, 1});
    for (auto frame = reader.next(); frame.ok() && frame.value(); frame = reader.next())
      got.push_back(*frame.value());
  }
  CHECK(got == std::vector<std::string>{"first", "", std::string(5000, 'x')});
  reader.feed({"\xff\xff\xff\xff", 4});
  CHECK(reader.next().error().reason() == "CONTROL_FRAME");
}

TEST_CASE("what a captured process leaves behind cannot lead or hold its reader", "[control]") {
  const reeve::test::TempDir dir;
  std::ofstream(dir / "file") << "left";
  CHECK(read_left_file(dir / "file", 4).value() == "left");
  CHECK(read_left_file(dir / "file", 3).error().reason() == "FILE_TOO_LARGE");
  CHECK(read_left_file(dir / "absent", 3).error().code() == Code::NotFound);
  std::filesystem::create_symlink(dir / "file", dir / "link");
  CHECK(read_left_file(dir / "link", 100).error().reason() == "RUN_DIR_FILE");
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK(read_left_file(dir / "pipe", 100).error().reason() == "RUN_DIR_FILE");
  CHECK(read_left_file(dir.path(), 100).error().reason() == "RUN_DIR_FILE");
}

namespace {

/// The other end of a control socket in the hands of somebody who means harm: `deal` has the
/// connection of the first caller, and `goes_on` says whether the test still wants it.
class Hostile {
 public:
  using Deal = std::function<void(int socket, const std::atomic<bool>& goes_on)>;
  explicit Hostile(Deal deal) {
    listener_ = listen_unix(path(), 1).value();
    thread_ = std::thread([this, deal = std::move(deal)] {
      pollfd wait{listener_.get(), POLLIN, 0};
      if (poll(&wait, 1, 5000) != 1) return;
      const Fd socket(::accept(listener_.get(), nullptr, nullptr));
      // So much that it lasts when this thread has to wait for its turn. More than root may not.
      const int much = 8 << 20;
      (void)setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &much, sizeof much);
      deal(socket.get(), goes_on_);
    });
  }
  ~Hostile() {
    goes_on_ = false;
    thread_.join();
  }
  std::filesystem::path path() const { return dir_ / "control.sock"; }

 private:
  reeve::test::TempDir dir_;
  Fd listener_;
  std::atomic<bool> goes_on_{true};
  std::thread thread_;
};

/// False when the caller has gone, or all is over.
bool say(int socket, std::string_view bytes, const std::atomic<bool>& goes_on) {
  while (goes_on && !bytes.empty()) {
    pollfd wait{socket, POLLOUT, 0};
    if (poll(&wait, 1, 100) != 1) continue;
    const auto n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return goes_on;
}

std::string event_of(std::size_t bytes) {
  v1::ControlMessage message;
  message.mutable_event()->mutable_console_output()->set_output(std::string(bytes, 'x'));
  std::string frame;
  append_frame(frame, message.SerializeAsString());
  return frame;
}

/// Many, to calls that nobody made, each with so many bytes in it.
std::string replies_to_nobody(std::size_t bytes) {
  v1::ControlMessage message;
  message.mutable_reply()->set_id(1'000'000);
  message.mutable_reply()->set_guest_agent_answer(std::string(bytes, 'x'));
  std::string frames;
  while (frames.size() < (1 << 20)) append_frame(frames, message.SerializeAsString());
  return frames;
}

/// Asks for the status and says how it went and how long it took.
struct Asked {
  std::string reason{};
  std::string message{};
  std::chrono::steady_clock::duration took{};
};
Asked ask(ControlClient& client, std::chrono::milliseconds timeout) {
  const auto begun = std::chrono::steady_clock::now();
  const auto reply = client.call(request_for([](auto& r) { r.mutable_get_status(); }), timeout);
  REQUIRE_FALSE(reply.ok());
  return {std::string(reply.error().reason()), reply.error().message(),
          std::chrono::steady_clock::now() - begun};
}

}  // namespace

TEST_CASE("events without an answer are not collected for ever", "[control]") {
  const auto size = GENERATE(std::size_t{1}, std::size_t{1} << 18);
  // Ends by itself, lest a client that keeps all of them take the host's memory.
  Hostile hostile([frame = event_of(size)](int socket, const auto& goes_on) {
    for (int i = 0; i < 2000; ++i)
      if (!say(socket, frame, goes_on)) return;
    while (goes_on) usleep(1000);
  });
  auto client = ControlClient::connect(hostile.path()).value();
  const auto asked = ask(client, 20s);
  CHECK(asked.reason == "VMM_FAULTY");
  CHECK(asked.took < 10s);
  INFO(asked.message);
  CHECK(asked.message.find("allowed are 1024 of 1048576") != std::string::npos);
  CHECK(client.fd() == -1);
  CHECK(ask(client, 1s).reason == "VMM_GONE");
  CHECK(client.next_event(1s).error().reason() == "VMM_GONE");
}

TEST_CASE("a call ends in its time, whatever comes meanwhile", "[control]") {
  Hostile::Deal deal;
  const auto flood = [](std::size_t bytes) -> Hostile::Deal {
    return [replies = replies_to_nobody(bytes)](int socket, const auto& goes_on) {
      while (say(socket, replies, goes_on)) {
      }
    };
  };
  SECTION("small answers to calls that nobody made") {
    deal = flood(0);
  }
  SECTION("large answers to calls that nobody made") {
    deal = flood(900'000);
  }
  SECTION("a message that never ends") {
    deal = [](int socket, const auto& goes_on) {
      (void)say(socket, std::string("\0\0\x10\0", 4), goes_on);
      while (say(socket, "x", goes_on)) usleep(200);
    };
  }
  SECTION("nothing") {
    deal = [](int, const auto& goes_on) {
      while (goes_on) usleep(1000);
    };
  }
  // Somebody else's patience: beyond it a client that has no clock of its own comes back, too.
  Hostile hostile([&](int socket, const auto& wanted) {
    std::atomic<bool> goes_on{true};
    std::thread other([&] { deal(socket, goes_on); });
    for (int i = 0; i < 5000 && wanted; ++i) usleep(1000);
    goes_on = false;
    other.join();
  });
  auto client = ControlClient::connect(hostile.path()).value();
  const auto asked = ask(client, 300ms);
  CHECK(asked.reason == "VMM_SILENT");
  CHECK(asked.took >= 250ms);
  CHECK(asked.took < 3s);
  const auto begun = std::chrono::steady_clock::now();
  const auto event = client.next_event(0ms);
  CHECK((event.ok() && !event.value()));
  CHECK(std::chrono::steady_clock::now() - begun < 2s);
}

TEST_CASE("a message that cannot be one is VMM_FAULTY and closes the connection", "[control]") {
  std::string bytes;
  SECTION("too long") {
    bytes = std::string("\xff\xff\xff\x7f", 4);
  }
  SECTION("rubbish") {
    append_frame(bytes, "\xff\xff\xff");
  }
  SECTION("text that is not UTF-8") {
    append_frame(bytes, std::string("\x0a\x05\x12\x03\x1a\x01\xff", 7));
  }
  Hostile hostile([&](int socket, const auto& goes_on) {
    (void)say(socket, bytes, goes_on);
    while (goes_on) usleep(1000);
  });
  auto client = ControlClient::connect(hostile.path()).value();
  CHECK(ask(client, 20s).reason == "VMM_FAULTY");
  CHECK(client.fd() == -1);
}

TEST_CASE("a request that is too long is refused and not sent", "[control]") {
  const reeve::test::TempDir dir;
  const auto listener = listen_unix(dir / "control.sock", 1).value();
  auto client = ControlClient::connect(dir / "control.sock").value();
  const auto asked = client.call(
      request_for([](auto& r) { r.mutable_save()->set_file_name(std::string(kMaxMessage, 'x')); }),
      5s);
  REQUIRE_FALSE(asked.ok());
  CHECK(asked.error().reason() == "CONTROL_FRAME");
  CHECK(client.fd() != -1);
}

TEST_CASE("what a process says is short, readable and may be passed on", "[control]") {
  CHECK(passable("grün", 3) == "gr");
  CHECK(passable("grün", 4) == "grü");
  CHECK(passable("a\tb\x1b[2J\nc") == "a b [2J\nc");
  std::string euros;
  while (euros.size() < 4 * kMaxText) euros += "€";
  v1::ControlMessage message;
  auto& error = *message.mutable_reply()->mutable_error();
  error.set_reason("not one\n");
  error.set_message(euros);
  make_passable(message);
  CHECK(error.reason() == "VMM_FAULTY");
  CHECK(error.message().size() == kMaxText / 3 * 3);
  CHECK(is_utf8(error.message()));
  v1::ControlMessage told;
  auto& status = *told.mutable_event()->mutable_state_changed();
  status.set_doing(euros);
  status.mutable_exit()->set_registers(euros);
  make_passable(told);
  CHECK(status.doing().size() <= kMaxText);
  CHECK(status.exit().registers().size() <= kMaxRegisters);
}

TEST_CASE("a run directory's report and claim are read with the same care", "[control]") {
  const reeve::test::TempDir dir;
  CHECK(read_exit_report(dir.path()).error().code() == Code::NotFound);
  std::ofstream(dir / kExitFile) << "rubbish";
  CHECK(read_exit_report(dir.path()).error().reason() == "RUN_DIR_FILE");
  v1::ExitReport report;
  report.set_message(std::string(5000, 'x'));
  std::ofstream(dir / kExitFile, std::ios::binary) << report.SerializeAsString();
  CHECK(read_exit_report(dir.path()).value().message().size() == kMaxText);

  const auto claim_of = [&](std::string_view text) {
    std::ofstream(dir / kPidFile) << text;
    return read_claim(dir.path());
  };
  CHECK(claim_of("4711 123456\n").value().pid == 4711);
  CHECK(claim_of("4711 123456\n").value().start_ticks == 123456);
  for (const auto* bad : {"", "4711", "1 5", "-1 5", "0 0", "99999999999 5", "4711 x"}) {
    INFO(bad);
    CHECK(claim_of(bad).error().reason() == "RUN_DIR_FILE");
  }
  CHECK(claim_of(std::string(65, '1')).error().reason() == "FILE_TOO_LARGE");
}

TEST_CASE("nobody waits longer than asked for a process that reads or accepts nothing",
          "[control]") {
  const reeve::test::TempDir dir;
  const auto listener = listen_unix(dir / "control.sock", 0).value();
  auto first = ControlClient::connect(dir / "control.sock").value();
  const auto begun = std::chrono::steady_clock::now();
  const auto second = ControlClient::connect(dir / "control.sock", 300ms);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().reason() == "VMM_SILENT");
  const auto long_one = first.call(
      request_for([](auto& r) { r.mutable_write_console()->set_input(std::string(900'000, 'x')); }),
      300ms);
  REQUIRE_FALSE(long_one.ok());
  CHECK(long_one.error().reason() == "VMM_SILENT");
  CHECK(std::chrono::steady_clock::now() - begun < 3s);
  CHECK(ControlClient::connect(dir / "absent", 300ms).error().reason() == "VMM_NOT_THERE");
}

}  // namespace reeve::core::control
