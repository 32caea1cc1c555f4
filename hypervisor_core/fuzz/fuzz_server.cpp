// hypervisor_core/fuzz/fuzz_server.cpp - the control socket and the console's socket of a machine
// with all devices: any bytes and any calls from several callers, who come and go while the guest
// writes, crashes, resets and answers as it likes.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/fuzz/input.h"
#include "hypervisor_core/fuzz/own_folder.h"
#include "hypervisor_core/fuzz/still_machine.h"
#include "hypervisor_core/vmm/console_outlet.h"
#include "hypervisor_core/vmm/server.h"

using namespace reeve;
using namespace reeve::core;
using namespace std::chrono_literals;

namespace {

constexpr int kMaxSteps = 60;
constexpr auto kFar = 30s;  ///< nobody waits so long but for a fault

const fuzz::OwnFolder& run_dir() {
  static const fuzz::OwnFolder folder;
  return folder;
}

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A machine with its server on a thread, as in reeve-vmm.
class Machine {
 public:
  Machine() {
    for (const auto& left : std::filesystem::directory_iterator(run_dir().path()))
      REEVE_CHECK(remove_file(left.path()).ok());
    const auto ring = [fd = wake_.get()] { (void)eventfd_write(fd, 1); };
    vm_ = Vm::create(world_.config(), accelerator_,
                     {.on_change = ring, .open_network = world_.open_network()})
              .value();
    vm_->console().set_listener(ring);
    auto console = listen_unix(path(control::kConsoleSocket), 8).value();
    auto listener = listen_unix(path(control::kControlSocket), 8).value();
    outlet_ = vmm::ConsoleOutlet::open(*vm_, folder_.get(), std::move(console)).value();
    server_ = std::thread([this, listener = std::move(listener)]() mutable {
      vmm::Server server(*vm_, *outlet_, std::move(listener), wake_.get(), folder_.get(), jail_);
      server.serve();
    });
  }
  ~Machine() {
    end();
    vm_->console().set_listener({});
  }
  static std::filesystem::path path(const char* name) { return run_dir().path() / name; }
  Vm& vm() { return *vm_; }

  /// Waits until the server has seen what was said before. False when the machine has ended.
  bool ask(void (*choose)(v1::ControlRequest&)) {
    auto client = control::ControlClient::connect(path(control::kControlSocket));
    if (!client.ok()) return false;
    v1::ControlRequest request;
    choose(request);
    const auto reply = client.value().call(std::move(request), kFar);
    REEVE_CHECK(reply.ok() || reply.error().reason() == "VMM_GONE");
    return reply.ok();
  }

 private:
  void end() {
    (void)ask([](v1::ControlRequest& request) { request.mutable_stop(); });
    server_.join();
    REEVE_CHECK(vm_->state() == Vm::State::Ended);
  }

  fuzz::StillAccelerator accelerator_{};
  fuzz::StillWorld world_{run_dir().path()};
  const Fd wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  const Fd folder_{open_file(run_dir().path(), O_RDONLY | O_DIRECTORY).value()};
  const sandbox::Report jail_{};
  std::unique_ptr<Vm> vm_{};
  std::unique_ptr<vmm::ConsoleOutlet> outlet_{};
  std::thread server_{};
};

/// Callers who do not wait for anything.
class Callers {
 public:
  explicit Callers(Machine& machine) : machine_(machine) {}

  void step(fuzz::Input& input) {
    const auto what = input.number<std::uint8_t>();
    auto& caller = callers_[what / 16 % callers_.size()];
    switch (what % 16) {
      case 0: return say(caller, text(input.take(input.number<std::uint8_t>())));
      case 1: return say_framed(caller, text(input.take(input.number<std::uint8_t>())));
      case 2: return caller.reset();
      case 3: return listen(caller);
      case 4: return guest(input);
      case 5: return ask_status();
      case 6: return type(input);
      default: return call(caller, input);
    }
  }

 private:
  /// To the end, unless the server hangs up: it reads, whatever it has not been read itself.
  static void say(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
      pollfd wait{socket, POLLOUT, 0};
      REEVE_CHECK(poll(&wait, 1, std::chrono::milliseconds(kFar).count()) == 1);
      const auto n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void say(Fd& caller, std::string_view bytes) {
    if (!caller) {
      auto connected = connect_unix(Machine::path(control::kControlSocket), SocketWaits::No);
      if (!connected.ok()) return;
      caller = std::move(connected).value();
    }
    say(caller.get(), bytes);
  }
  void say_framed(Fd& caller, std::string_view message) {
    std::string frame;
    control::append_frame(frame, message);
    say(caller, frame);
  }
  static void listen(const Fd& caller) {
    std::array<char, 65536> heard;
    if (caller) (void)::recv(caller.get(), heard.data(), heard.size(), MSG_DONTWAIT);
  }

  /// A call of one of the verbs, with fields of the fuzzer's and at times with very long ones.
  void call(Fd& caller, fuzz::Input& input) {
    v1::ControlRequest request;
    const auto verb = input.number<std::uint8_t>();
    const auto fields = text(input.take(input.number<std::uint8_t>() % 64));
    // As the wire has it: the verb's number, a message of so many bytes.
    std::string wire{static_cast<char>((verb % 13 + 2) << 3 | 2), static_cast<char>(fields.size())};
    if (!request.ParseFromString(wire + fields)) return;
    request.set_id(verb);
    if (verb >= 240) {
      const std::string long_one((1 << 20) - 20, 'x');
      if (request.has_save()) request.mutable_save()->set_file_name("/" + long_one);
      if (request.has_disk_grown()) request.mutable_disk_grown()->set_disk_id(long_one);
      if (request.has_guest_agent_call()) request.mutable_guest_agent_call()->set_json(long_one);
    }
    // Sparse, but the host's tables of it are not.
    if (request.has_disk_grown() && request.disk_grown().size_bytes() > 1 << 24) return;
    say_framed(caller, request.SerializeAsString());
    // A long one is read in pieces, and not at all when the machine ends meanwhile.
    for (int i = 0; verb >= 240 && i < 16; ++i) ask_status();
  }
  void ask_status() {
    (void)machine_.ask([](v1::ControlRequest& request) { request.mutable_get_status(); });
  }

  void type(fuzz::Input& input) {
    auto connected = connect_unix(Machine::path(control::kConsoleSocket), SocketWaits::No);
    if (connected.ok()) typist_ = std::move(connected).value();
    if (typist_) say(typist_.get(), text(input.take(input.number<std::uint8_t>())));
  }

  /// What a guest does meanwhile; its processors are ours to play.
  void guest(fuzz::Input& input) {
    auto& board = machine_.vm().board();
    auto& agent = *board.peripherals().agent_channel();
    const auto what = input.number<std::uint8_t>();
    const auto bytes = input.take(input.number<std::uint8_t>());
    switch (what % 8) {
      case 0: return agent.guest_opened(what < 192);
      case 1:
      case 2: return (void)agent.guest_wrote(bytes);
      case 3:
        for (unsigned times = 0; times < what; ++times) machine_.vm().console().write(bytes);
        return;
      case 4: {
        constexpr std::array<std::uint16_t, 6> kPorts{0x3f8, 0x604, 0x505, 0xcf9, 0x64, 0xf4};
        for (const auto byte : bytes) board.port_write(kPorts[what / 8 % 6], std::span(&byte, 1));
        return;
      }
      case 5: {  // powers off
        constexpr std::array<std::byte, 2> kSleep{std::byte{0}, std::byte{0x34}};
        return board.port_write(0x604, kSleep);
      }
      default: return machine_.vm().console().write(bytes);
    }
  }

  Machine& machine_;
  std::array<Fd, 3> callers_{};
  Fd typist_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  Machine machine;
  Callers callers(machine);
  for (int i = 0; i < kMaxSteps && !input.empty(); ++i) callers.step(input);
  return 0;
}
