// hypervisor_core/fuzz/fuzz_client.cpp - the agent's side of a reeve-vmm that has been taken over:
// hostile bytes in hostile pieces on the control socket, hostile files in the run directory.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/control/run_dir.h"
#include "hypervisor_core/control/said.h"
#include "hypervisor_core/fuzz/input.h"
#include "hypervisor_core/fuzz/own_folder.h"

using namespace reeve;
using namespace reeve::core;
using namespace std::chrono_literals;

namespace {

constexpr int kMaxSteps = 100;
constexpr auto kSoon = std::chrono::milliseconds(50);
constexpr auto kFar = std::chrono::milliseconds(10'000);  ///< only met where there is no deadline

/// A run directory whose listener lives as long as the fuzzer.
struct RunDir {
  fuzz::OwnFolder folder{};
  Fd listener = listen_unix(folder.path() / control::kControlSocket, 1).value();
};

const RunDir& run_dir() {
  static const RunDir dir;
  return dir;
}

void check_text(const std::string& text, std::size_t most = control::kMaxText) {
  REEVE_CHECK(text.size() <= most && is_utf8(text));
  for (const char c : text) REEVE_CHECK(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
}

void check_report(const v1::ExitReport& report) {
  check_text(report.message());
  check_text(report.registers(), control::kMaxRegisters);
}

void check_status(const v1::MachineStatus& status) {
  for (const auto& text :
       {status.boot_format(), status.waiting_for(), status.lost_network(), status.doing()})
    check_text(text);
  for (const auto& disk : status.disks()) check_text(disk.id());
  for (const auto& measure : status.jail()) check_text(measure.why_not());
  check_report(status.exit());
}

void check_error(const Error& error) {
  REEVE_CHECK(!error.reason().empty() && error.reason().size() <= 64);
  check_text(error.message());
}

/// The agent's client and the end that means harm.
class Talk {
 public:
  Talk()
      : client_(control::ControlClient::connect(run_dir().folder.path() / control::kControlSocket)
                    .value()) {
    hostile_ =
        Fd(accept4(run_dir().listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    REEVE_CHECK(hostile_.get() >= 0);
    // Room for what no client should keep. More than root may not.
    const int much = 4 << 20;
    (void)setsockopt(hostile_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &much, sizeof much);
  }

  void step(fuzz::Input& input) {
    const auto what = input.number<std::uint8_t>();
    switch (what % 16) {
      case 0: return say(text(input.take(input.number<std::uint8_t>())));  // a piece, cut anywhere
      case 1:
      case 2: return say_message(text(input.take(input.number<std::uint8_t>())), what / 16);
      case 3: return say_reply(input);
      case 4: return say_events(input);
      case 5: return listen();
      case 6: return say_last();
      case 7:
      case 8:
      case 9: return hear(0ms);
      case 10: return ask(input, 1ms);
      case 11: return tell(input);
      default: return ask(input, 0ms);
    }
  }
  /// All that was said, to its end: nothing waits once the other side says no more.
  void finish() {
    say_last();
    v1::ControlRequest request;
    request.mutable_get_status();
    call(std::move(request), kSoon);  // which may have no room to be sent
    for (int i = 0; i < 100'000 && !gone_; ++i) hear(kFar);
    REEVE_CHECK(gone_);
  }

 private:
  static std::string_view text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void say(std::string_view bytes) {
    if (hostile_) (void)::send(hostile_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  void say_message(std::string_view message, unsigned times) {
    std::string frames;
    for (unsigned i = 0; i <= times; ++i) control::append_frame(frames, message);
    say(frames);
  }
  /// To the last call, or to one before or after it, with fields of the fuzzer's.
  void say_reply(fuzz::Input& input) {
    v1::ControlMessage message;
    (void)message.mutable_reply()->MergeFromString(
        std::string(text(input.take(input.number<std::uint8_t>()))));
    message.mutable_reply()->set_id(sent_ + input.number<std::uint8_t>() % 4 - 1u);
    const auto length = input.number<std::uint8_t>();  // as long as it gets
    if (length % 4 == 1)
      message.mutable_reply()->set_guest_agent_answer(std::string(std::size_t{length} << 12, 'x'));
    if (length % 4 == 2)
      message.mutable_reply()->mutable_error()->set_message(
          std::string(std::size_t{length} << 8, '\x7f'));
    say_message(message.SerializeAsString(), 0);
  }
  void say_events(fuzz::Input& input) {
    v1::ControlMessage message;
    (void)message.mutable_event()->MergeFromString(
        std::string(text(input.take(input.number<std::uint8_t>()))));
    const auto length = input.number<std::uint8_t>();
    if (length % 4 == 1)
      message.mutable_event()->mutable_console_output()->set_output(
          std::string(std::size_t{length} << 9, 'x'));
    if (length % 4 == 2)
      message.mutable_event()->mutable_state_changed()->set_doing(
          std::string(std::size_t{length} << 8, 'x'));
    say_message(message.SerializeAsString(), input.number<std::uint8_t>() * 2u);
  }
  void listen() {
    std::array<char, 65536> heard;
    if (hostile_) (void)::recv(hostile_.get(), heard.data(), heard.size(), MSG_DONTWAIT);
  }
  void say_last() {
    if (hostile_) (void)shutdown(hostile_.get(), SHUT_WR);
  }

  v1::ControlRequest request(fuzz::Input& input) {
    v1::ControlRequest request;
    const auto size = input.number<std::uint8_t>();
    if (size % 2 == 0)
      request.mutable_get_status();
    else  // more than a socket takes when nobody reads
      request.mutable_write_console()->set_input(std::string(std::size_t{size} << 11, 'x'));
    return request;
  }
  void ask(fuzz::Input& input, std::chrono::milliseconds timeout) { call(request(input), timeout); }
  void tell(fuzz::Input& input) {
    if (broken_) return;
    ++sent_;
    const auto sent = client_.send(request(input), 0ms);
    if (!sent.ok()) failed(sent.error());
  }
  void call(v1::ControlRequest request, std::chrono::milliseconds timeout) {
    if (broken_) return;
    ++sent_;
    const auto reply = client_.call(std::move(request), timeout);
    if (!reply.ok()) return failed(reply.error());
    REEVE_CHECK(reply.value().id() == sent_);
    check_status(reply.value().status());
  }
  void hear(std::chrono::milliseconds timeout) {
    const auto event = client_.next_event(timeout);
    if (!event.ok()) {
      check_error(event.error());
      REEVE_CHECK(event.error().reason() == "VMM_GONE" || client_.fd() == -1);
      broken_ = gone_ = true;
      return;
    }
    if (event.value()) check_status(event.value()->state_changed());
  }
  /// Of a call: its error may be the machine's own, whatever it is called there.
  void failed(const Error& error) {
    check_error(error);
    // Half a request may have gone out: nothing more may be asked.
    broken_ = client_.fd() == -1 || error.reason() == "VMM_GONE" || error.reason() == "VMM_SILENT";
  }

  control::ControlClient client_;
  Fd hostile_;
  std::uint64_t sent_ = 0;  ///< requests so far, which is the last one's id
  bool gone_ = false, broken_ = false;
};

/// The same bytes as each file that the agent reads.
void read_files(std::string_view bytes) {
  for (const auto* name : {control::kExitFile, control::kPidFile}) {
    const Fd file(open((run_dir().folder.path() / name).c_str(),
                       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    REEVE_CHECK(write_all(file.get(), as_bytes(bytes)).ok());
  }
  if (const auto report = control::read_exit_report(run_dir().folder.path()); report.ok())
    check_report(report.value());
  if (const auto claim = control::read_claim(run_dir().folder.path()); claim.ok())
    REEVE_CHECK(claim.value().pid > 1);
}

}  // namespace

/// The first byte chooses: files, or a talk whose steps follow.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  if (input.number<std::uint8_t>() % 8 == 0) {
    const auto bytes = input.rest();
    read_files({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return 0;
  }
  Talk talk;
  for (int i = 0; i < kMaxSteps && !input.empty(); ++i) talk.step(input);
  talk.finish();
  return 0;
}
