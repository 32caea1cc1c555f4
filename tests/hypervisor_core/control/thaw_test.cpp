// A frozen guest that is saved is thawed by whoever goes on with it. The guest here has no driver:
// its saved state says that it has the agent's channel open, and what is on its way to it is read
// from the next saved state.
#include <array>
#include <cstring>
#include <fstream>
#include <map>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/control/frame.h"
#include "hypervisor_core/control/run_dir.h"
#include "hypervisor_core/vm/snapshot.h"
#include "hypervisor_core/vm/vm.h"
#include "reeve/core/v1/devices.pb.h"
#include "tests/hypervisor_core/control/resident.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::control {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr const char* kFreeze = R"({"execute":"guest-fsfreeze-freeze"})";
const std::string kThawLine = std::string(AgentChannel::kThaw) + "\n";
const std::initializer_list<int> kIdle = {0xeb, 0xfe};

v1::MachineConfig frozen_config(const test::PayloadKernel& kernel) {
  auto config = kernel.config();
  config.set_guest_agent(true);
  return config;
}

/// A saved machine taken apart.
struct Saved {
  v1::SavedHeader header{};
  v1::SavedMachine machine{};
  std::vector<std::string> memory{};
  v1::ConsoleState channel{};

  explicit Saved(const fs::path& path) {
    const Fd file = open_file(path, O_RDONLY).value();
    FdSource source(file.get());
    RecordReader reader(source);
    header = read_saved_header(reader).value();
    std::string bytes;
    while (reader.next(bytes).value() == RecordType::Memory) memory.push_back(bytes);
    REQUIRE(machine.ParseFromString(bytes));
    REQUIRE(machine.devices_size() == 1);
    REQUIRE(channel.ParseFromString(machine.devices(0).device_state()));
    REQUIRE(channel.ports_size() == 1);
  }
  /// As a stream: without an index.
  void write(const fs::path& path) {
    machine.mutable_devices(0)->set_device_state(channel.SerializeAsString());
    const Fd file = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600).value();
    FdSink sink(file.get());
    RecordWriter writer(sink);
    REQUIRE(writer.begin().ok());
    REQUIRE(writer.write(RecordType::Header, as_bytes(header.SerializeAsString())).ok());
    for (const auto& record : memory)
      REQUIRE(writer.write(RecordType::Memory, as_bytes(record)).ok());
    REQUIRE(writer.write(RecordType::Machine, as_bytes(machine.SerializeAsString())).ok());
  }
  bool has(const std::string& feature) const {
    const auto& all = header.required_features();
    return std::find(all.begin(), all.end(), feature) != all.end();
  }
  const std::string& to_guest() const { return channel.ports(0).to_guest(); }
};

/// A machine of which the guest runs an agent, or so its state says.
void save_with_agent(const v1::MachineConfig& config, accel::Accelerator& kvm,
                     const fs::path& path) {
  const reeve::test::TempDir dir;
  auto vm = Vm::create(config, kvm);
  REQUIRE(vm.ok());
  REQUIRE(vm.value()->start().ok());
  REQUIRE(vm.value()->pause().ok());
  {
    const Fd file = open_file(dir / "state", O_WRONLY | O_CREAT, 0600).value();
    FdSink sink(file.get());
    REQUIRE(vm.value()->save(sink).ok());
  }
  Saved saved(dir / "state");
  saved.channel.set_ready(true);
  saved.channel.mutable_ports(0)->set_ready(true);
  saved.channel.mutable_ports(0)->set_guest_open(true);
  saved.write(path);
}

/// The state of such a machine in a file of its folder, where there is KVM.
struct Asleep {
  Asleep() {
    if (kvm) save_with_agent(config, *kvm, state);
  }
  const std::unique_ptr<accel::Accelerator> kvm = test::kvm_or_skip();
  const test::PayloadKernel kernel{kIdle};
  const v1::MachineConfig config = frozen_config(kernel);
  const reeve::test::TempDir dir{};
  const fs::path state = dir / "state";
};

/// One that goes on from a saved state, without a jail.
class Restored : public Resident {
 public:
  Restored(const v1::MachineConfig& config, const fs::path& state)
      : Resident(config, {"--no-jail"}, state) {}
  Saved saved(const std::string& name) const { return Saved(file(name)); }
};

v1::ControlRequest freeze() {
  v1::ControlRequest request;
  auto& call = *request.mutable_guest_agent_call();
  call.set_json(kFreeze);
  call.set_timeout_ms(1);  // nobody answers
  call.set_thaw_after_ms(600'000);
  return request;
}

/// The next replies by the ids of their requests.
std::map<std::uint64_t, v1::ControlReply> answers_from(int socket, std::size_t count) {
  std::map<std::uint64_t, v1::ControlReply> answers;
  FrameReader reader;
  while (answers.size() < count) {
    pollfd wait{socket, POLLIN, 0};
    REQUIRE(poll(&wait, 1, 10'000) == 1);
    std::array<char, 4096> bytes;
    const auto got = ::read(socket, bytes.data(), bytes.size());
    REQUIRE(got > 0);
    reader.feed({bytes.data(), static_cast<std::size_t>(got)});
    while (const auto frame = reader.next().value()) {
      v1::ControlMessage message;
      REQUIRE(message.ParseFromString(*frame));
      if (message.has_reply()) answers[message.reply().id()] = message.reply();
    }
  }
  return answers;
}

v1::ControlRequest save_as(const std::string& name) {
  v1::ControlRequest request;
  request.mutable_save()->set_file_name(name);
  return request;
}

void pause(ControlClient& client) {
  v1::ControlRequest request;
  request.mutable_pause();
  REQUIRE(client.call(request, 10s).ok());
}

std::string reason_of(const Result<v1::ControlReply>& reply) {
  return reply.ok() ? "" : std::string(reply.error().reason());
}

}  // namespace

TEST_CASE("a guest that was saved while frozen is thawed where it goes on",
          "[control][kvm][thaw]") {
  const Asleep machine;
  if (!machine.kvm) return;
  CHECK_FALSE(Saved(machine.state).has("thaw"));

  Restored first(machine.config, machine.state);
  auto client = first.connect();
  CHECK(reason_of(client.call(freeze(), 5s)) == "GUEST_AGENT_SILENT");
  pause(client);
  REQUIRE(client.call(save_as("frozen"), 10s).ok());
  const auto frozen = first.saved("frozen");
  CHECK(frozen.has("thaw"));
  CHECK(frozen.machine.thaw_owed());
  CHECK(frozen.to_guest() == std::string(kFreeze) + "\n");

  for (const bool in_order : {false, true}) {  // else its memory is read while it runs
    CAPTURE(in_order);
    const fs::path stream = machine.dir / "stream";
    if (in_order) Saved(first.file("frozen")).write(stream);
    Restored second(machine.config, in_order ? stream : first.file("frozen"));
    auto other = second.connect();
    pause(other);
    REQUIRE(other.call(save_as("again"), 10s).ok());
    const auto again = second.saved("again");
    CHECK(again.to_guest() == std::string(kFreeze) + "\n" + kThawLine);
    CHECK_FALSE(again.has("thaw"));  // what is on its way is no longer owed
    CHECK_FALSE(again.machine.thaw_owed());
  }
}

TEST_CASE("a frozen machine without the means to thaw it is refused", "[control][kvm][thaw]") {
  const Asleep machine;
  if (!machine.kvm) return;
  Saved saved(machine.state);
  saved.machine.set_thaw_owed(true);
  saved.write(machine.dir / "frozen");
  const Fd file = open_file(machine.dir / "frozen", O_RDONLY).value();
  FdSource source(file.get());
  const auto only_a_console = [](v1::MachineConfig& config) {
    config.set_guest_agent(false);
    config.set_console(true);
  };
  const auto refused = Vm::restore(source, *machine.kvm, {}, only_a_console);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message().find("frozen guest") != std::string::npos);
}

TEST_CASE("a guest that nobody froze is not thawed where it goes on", "[control][kvm][thaw]") {
  const Asleep machine;
  if (!machine.kvm) return;
  Restored vmm(machine.config, machine.state);
  auto client = vmm.connect();
  pause(client);
  REQUIRE(client.call(save_as("again"), 10s).ok());
  CHECK(vmm.saved("again").to_guest().empty());
  CHECK_FALSE(vmm.saved("again").has("thaw"));
}

TEST_CASE("whoever freezes a guest and hangs up has it thawed before it is saved",
          "[control][kvm][thaw]") {
  const Asleep machine;
  if (!machine.kvm) return;
  Restored vmm(machine.config, machine.state);
  auto client = vmm.connect();
  {
    auto brief = vmm.connect();
    CHECK(reason_of(brief.call(freeze(), 5s)) == "GUEST_AGENT_SILENT");
  }
  pause(client);
  REQUIRE(client.call(save_as("again"), 10s).ok());
  CHECK(vmm.saved("again").to_guest() == std::string(kFreeze) + "\n" + kThawLine);
  CHECK_FALSE(vmm.saved("again").has("thaw"));
}

TEST_CASE("nothing is frozen while the machine is being saved", "[control][kvm][thaw]") {
  const Asleep machine;
  if (!machine.kvm) return;
  Restored vmm(machine.config, machine.state);
  auto client = vmm.connect();
  pause(client);
  // In one piece, so that both are read before the save is answered, however quick it is.
  const Fd socket = connect_unix(vmm.file(kControlSocket), SocketWaits::Yes).value();
  auto first = save_as("again"), second = freeze();
  first.set_id(1);
  second.set_id(2);
  std::string both;
  append_frame(both, first.SerializeAsString());
  append_frame(both, second.SerializeAsString());
  REQUIRE(write_all(socket.get(), as_bytes(both)).ok());
  const auto answers = answers_from(socket.get(), 2);
  CHECK(answers.at(1).error().reason().empty());
  CHECK(answers.at(2).error().reason() == "GUEST_AGENT_BUSY");
  REQUIRE(client.call(save_as("later"), 10s).ok());
  CHECK(vmm.saved("again").to_guest().empty());
  CHECK(vmm.saved("later").to_guest().empty());
}

TEST_CASE("a thaw that does not fit stays owed, and leaves no half line", "[vm][kvm][thaw]") {
  auto kvm = test::kvm_or_skip();
  if (!kvm) return;
  const test::PayloadKernel kernel(kIdle);
  auto vm = Vm::create(frozen_config(kernel), *kvm);
  REQUIRE(vm.ok());
  auto& peripherals = vm.value()->board().peripherals();
  auto& channel = *peripherals.agent_channel();
  std::size_t lines = 0;
  while (peripherals.send_to_agent("0123456789")) ++lines;
  channel.owe_thaw(true);
  CHECK_FALSE(peripherals.thaw_guest());
  CHECK(channel.owes_thaw());
  REQUIRE(vm.value()->start().ok());
  REQUIRE(vm.value()->pause().ok());
  const reeve::test::TempDir dir;
  {
    const Fd file = open_file(dir / "state", O_WRONLY | O_CREAT, 0600).value();
    FdSink sink(file.get());
    REQUIRE(vm.value()->save(sink).ok());
  }
  const Saved saved(dir / "state");
  CHECK(saved.has("thaw"));
  CHECK(saved.to_guest().size() == lines * 11);
  CHECK(saved.to_guest().ends_with("0123456789\n"));
}

}  // namespace reeve::core::control
