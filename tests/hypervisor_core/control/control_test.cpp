#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <map>
#include <random>
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
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/control/run_dir.h"
#include "hypervisor_core/sandbox/user.h"
#include "hypervisor_core/vm/vm.h"
#include "tests/hypervisor_core/control/resident.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/support/temp_dir.h"

namespace reeve::core::control {
namespace {

using namespace std::chrono_literals;

/// For what takes a second where KVM is real: it may be emulated, on a busy machine.
constexpr auto kEmulated = 200s;

#ifdef __SANITIZE_THREAD__
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

/// Prints "hi", then echoes what is typed.
const std::initializer_list<int> kEcho = {
    0x66, 0xba, 0xf8, 0x03, 0xb0, 'h',  0xee, 0xb0, 'i',  0xee,  // "hi"
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,        // wait for input
    0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xef};             // echo, again

std::string console(ControlClient& client, std::size_t length) {
  std::string out;
  for (int i = 0; i < 100 && out.size() < length; ++i) {
    auto event = client.next_event(1s);
    REQUIRE(event.ok());
    if (event.value() && event.value()->has_console_output())
      out += event.value()->console_output().output();
  }
  return out;
}

}  // namespace

TEST_CASE("an error about a long name is told and does not end the machine", "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  Resident vmm(kernel.config());
  auto client = vmm.connect();
  const auto refused = client.call(request_for([](auto& r) {
                                     const std::string name(kMaxMessage - 20, 'x');
                                     r.mutable_save()->set_file_name("/" + name);
                                   }),
                                   5s);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().reason() == "FILE_NAME");
  CHECK(client.call(request_for([](auto& r) { r.mutable_get_status(); }), 5s).ok());
}

TEST_CASE("a machine outlives its callers, and its console is read from any offset",
          "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  Resident vmm(kernel.config());
  {
    auto first = vmm.connect();
    REQUIRE(first.call(request_for([](auto& r) { r.mutable_watch_console(); }), 5s).ok());
    CHECK(console(first, 2) == "hi");
  }
  auto second = vmm.connect();
  const auto typed =
      second.call(request_for([](auto& r) { r.mutable_write_console()->set_input("abc"); }), 5s);
  REQUIRE(typed.ok());
  CHECK(typed.value().console_bytes_taken() == 3);
  REQUIRE(
      second.call(request_for([](auto& r) { r.mutable_watch_console()->set_from_offset(1); }), 5s)
          .ok());
  CHECK(console(second, 4) == "iabc");
  const auto status = second.call(request_for([](auto& r) { r.mutable_get_status(); }), 5s);
  REQUIRE(status.ok());
  CHECK(status.value().status().state() == v1::MachineStatus::STATE_RUNNING);
  CHECK(status.value().status().console_offset() == 5);
  const auto pid = read_file(vmm.file(kPidFile));
  REQUIRE(pid.ok());
  CHECK(pid.value().find(' ') != std::string::npos);
}

TEST_CASE("pause, resume, reset and stop work over the control socket, watchers are told",
          "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  Resident vmm(kernel.config());
  auto client = vmm.connect();
  auto watcher = vmm.connect();
  REQUIRE(watcher.call(request_for([](auto& r) { r.mutable_watch_state(); }), 5s).ok());
  const auto call = [&](auto choose) {
    auto reply = client.call(request_for(choose), 10s);
    if (!reply.ok()) FAIL(reply.error().message());
    return reply.value().status().state();
  };
  CHECK(call([](auto& r) { r.mutable_pause(); }) == v1::MachineStatus::STATE_PAUSED);
  CHECK(call([](auto& r) { r.mutable_pause(); }) == v1::MachineStatus::STATE_PAUSED);
  CHECK(call([](auto& r) { r.mutable_resume(); }) == v1::MachineStatus::STATE_RUNNING);
  CHECK(call([](auto& r) { r.mutable_reset(); }) == v1::MachineStatus::STATE_RUNNING);
  CHECK(client.call(request_for([](auto&) {}), 5s).error().reason() == "CONTROL_VERB");
  CHECK(client.call(request_for([](auto& r) { r.mutable_disk_grown()->set_disk_id("x"); }), 5s)
            .error()
            .reason() == "DISK_NOT_FOUND");
  CHECK(call([](auto& r) { r.mutable_stop(); }) == v1::MachineStatus::STATE_ENDED);
  CHECK(vmm.ends());
  CHECK(vmm.report().kind() == v1::ExitReport::KIND_KILLED);
  bool saw_end = false;
  for (auto event = watcher.next_event(1s); event.ok() && event.value();
       event = watcher.next_event(1s))
    saw_end = saw_end || event.value()->state_changed().state() == v1::MachineStatus::STATE_ENDED;
  CHECK(saw_end);
}

TEST_CASE("watchers are told when the guest's kernel crashes", "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  // Waits for input, panics twice, halts.
  const core::test::PayloadKernel kernel{0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,
                                         0x66, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xee, 0xf4};
  Resident vmm(kernel.config());
  auto watcher = vmm.connect();
  REQUIRE(watcher.call(request_for([](auto& r) { r.mutable_watch_state(); }), 5s).ok());
  const auto first = watcher.next_event(5s);
  REQUIRE((first.ok() && first.value()));
  CHECK_FALSE(first.value()->state_changed().guest_panicked());
  REQUIRE(watcher.call(request_for([](auto& r) { r.mutable_write_console()->set_input("x"); }), 5s)
              .ok());
  const auto told = watcher.next_event(5s);
  REQUIRE((told.ok() && told.value()));
  CHECK(told.value()->state_changed().guest_panicked());
  CHECK(told.value()->state_changed().state() == v1::MachineStatus::STATE_RUNNING);
}

TEST_CASE("the exit report and the last console output stay in the run directory",
          "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel{0x66, 0xba, 0xf8, 0x03, 0xb0, 'x', 0xee,
                                         0xb0, 0x05, 0xe6, 0xf4, 0xeb, 0xfe};
  Resident vmm(kernel.config());
  CHECK(vmm.ends());
  CHECK(vmm.report().kind() == v1::ExitReport::KIND_DEBUG_EXIT);
  CHECK(vmm.report().code() == 5);
  CHECK(read_file(vmm.file(kConsoleTail)).value() == "x");
}

TEST_CASE("a machine is jailed unless told otherwise: no rights left, and it works all the same",
          "[control][kvm][root]") {
  if (!core::test::kvm_or_skip()) return;
  if (geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const core::test::PayloadKernel kernel(kEcho);
  auto config = kernel.config();
  config.set_rng(true);
  Resident vmm(config);
  auto client = vmm.connect();
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_watch_console(); }), 5s).ok());
  CHECK(console(client, 2) == "hi");
  const auto process = std::filesystem::path("/proc") / std::to_string(vmm.pid());
  const auto facts = read_file(process / "status").value();
  CHECK(facts.find("CapEff:\t0000000000000000") != std::string::npos);
  CHECK(facts.find("CapBnd:\t0000000000000000") != std::string::npos);
  CHECK(facts.find("NoNewPrivs:\t1") != std::string::npos);
  CHECK(facts.find("Uid:\t0") == std::string::npos);
  for (const char* kind : {"mnt", "net", "ipc", "uts", "pid"}) {
    INFO(kind);
    CHECK(std::filesystem::read_symlink(process / "ns" / kind) !=
          std::filesystem::read_symlink(std::filesystem::path("/proc/self/ns") / kind));
  }
  // Whom the agent ends is not the process's to say.
  int claims = 0;
  for (const auto& fd : std::filesystem::directory_iterator(process / "fd")) {
    if (std::filesystem::read_symlink(fd.path()).filename() != kPidFile) continue;
    const auto info = read_file(process / "fdinfo" / fd.path().filename()).value();
    const auto flags = info.substr(info.find("flags:") + 6);
    CHECK((std::stoul(flags, nullptr, 8) & O_ACCMODE) == O_RDONLY);
    ++claims;
  }
  CHECK(claims == 1);  // the lock
  // Every thread but the first has the filter of its role besides that of the process.
  std::set<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator(process / "task")) {
    const auto thread = read_file(task.path() / "status").value();
    INFO(thread);
    const auto name = std::string(trim(read_file(task.path() / "comm").value()));
    // Threads of a thread sanitizer's runtime bear the program's name, as the first does.
    const bool nameless = kThreadSanitizer && name == "reeve-vmm";
    const bool first = nameless || task.path().filename() == std::to_string(vmm.pid()) ||
                       name == "vm-verbs-0";  // does what the first did, in its place
    CHECK(thread.find(first ? "Seccomp_filters:\t1\n" : "Seccomp_filters:\t2\n") !=
          std::string::npos);
    names.insert(name);
  }
  std::erase_if(names, [](const auto& name) { return name.starts_with("kvm-"); });  // the kernel's
  CHECK(names ==
        std::set<std::string>{"reeve-vmm", "vcpu-0", "virtio-control", "vm-events", "vm-verbs-0"});
  const auto status = client.call(request_for([](auto& r) { r.mutable_get_status(); }), 5s);
  REQUIRE(status.ok());
  CHECK(status.value().status().jail_size() >= 10);
  for (const auto& measure : status.value().status().jail()) {
    INFO(measure.name() << ": " << measure.why_not());
    CHECK((measure.in_force() || measure.name() == "landlock"));
  }
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_pause(); }), 5s).ok());
  const auto saved =
      client.call(request_for([](auto& r) { r.mutable_save()->set_file_name("state"); }), 20s);
  if (!saved.ok()) FAIL(saved.error().message());
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_reset(); }), 5s).ok());
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_stop(); }), 5s).ok());
  CHECK(vmm.ends());
  CHECK(vmm.report().kind() == v1::ExitReport::KIND_KILLED);
}

namespace {

/// What a descriptor is for; empty when nobody knows. `run_dir` is seen from inside the jail.
std::string purpose_of(int fd, const std::string& shown, const std::string& run_dir,
                       const std::map<std::string, std::string>& files) {
  if (fd <= STDERR_FILENO) return "standard";
  if (shown.starts_with("socket:")) return "socket";
  if (const auto file = files.find(shown); file != files.end()) return file->second;
  static const std::map<std::string, std::string> kinds{
      {"/dev/kvm", "kvm"},
      {"anon_inode:kvm-vm", "vm"},
      {"anon_inode:kvm-vcpu:0", "vcpu"},
      {"anon_inode:[eventfd]", "event"},
      {"anon_inode:[eventpoll]", "poll"},
      {"anon_inode:[timerfd]", "timer"},
      {"anon_inode:[io_uring]", "ring"},
      {"/memfd:guest-ram (deleted)", "memory"},
      {run_dir, "run directory"},
      {run_dir + "/" + kPidFile, "lock"},
      {run_dir + "/" + kConsoleLog, "console log"}};
  const auto kind = kinds.find(shown);
  return kind == kinds.end() ? "" : kind->second;
}

}  // namespace

TEST_CASE("a jailed process has nothing open but what its machine needs", "[control][kvm][root]") {
  if (!core::test::kvm_or_skip()) return;
  if (geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const core::test::PayloadKernel kernel(kEcho);
  const reeve::test::TempDir dir;
  std::ofstream(dir / "disk.raw") << std::string(1 << 20, '\0');
  auto config = kernel.config();
  config.set_rng(true);
  config.set_balloon(true);
  config.set_guest_agent(true);
  auto& disk = *config.add_disks();
  disk.set_id("disk");
  disk.add_layers()->set_path(dir / "disk.raw");
  disk.mutable_layers(0)->set_format(v1::DISK_FORMAT_RAW);
  // What a careless starter leaves open is not the machine's.
  const Fd stray(::open("/etc/passwd", O_RDONLY));
  Resident vmm(config);
  auto client = vmm.connect();
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_watch_console(); }), 5s).ok());
  CHECK(console(client, 2) == "hi");
  const auto process = std::filesystem::path("/proc") / std::to_string(vmm.pid());
  const std::map<std::string, std::string> files{{dir / "disk.raw", "disk"},
                                                 {kernel.path(), "kernel"}};
  std::map<std::string, int> open;
  for (const auto& entry : std::filesystem::directory_iterator(process / "fd")) {
    const auto shown = std::filesystem::read_symlink(entry.path()).string();
    const int fd = std::stoi(entry.path().filename());
    INFO(fd << " is " << shown);
    const auto purpose = purpose_of(fd, shown, vmm.file("").parent_path(), files);
    CHECK_FALSE(purpose.empty());
    ++open[purpose];
  }
  // Two that listen, and ours.
  for (const auto& [what, count] : std::map<std::string, int>{{"socket", 3},
                                                              {"disk", 1},
                                                              {"kernel", 1},
                                                              {"kvm", 1},
                                                              {"vm", 1},
                                                              {"vcpu", 1},
                                                              {"memory", 1},
                                                              {"run directory", 1},
                                                              {"lock", 1},
                                                              {"console log", 1}}) {
    INFO(what);
    CHECK(open[what] == count);
  }
}

TEST_CASE("a jailed process sets a full console log aside", "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  const std::string full(1 << 20, 'b');
  Resident vmm(kernel.config(), {}, {}, STDERR_FILENO, [&](const auto& run_dir) {
    // As the process before left it.
    std::ofstream(run_dir / kConsoleLog) << full;
    const auto user = sandbox::user_of(kernel.config().uuid());
    if (geteuid() == 0) REQUIRE(chown((run_dir / kConsoleLog).c_str(), user, user) == 0);
  });
  auto client = vmm.connect();
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_watch_console(); }), 5s).ok());
  CHECK(console(client, 2) == "hi");
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_stop(); }), 10s).ok());
  CHECK(vmm.ends());
  CHECK(std::filesystem::file_size(vmm.file(kConsoleLog)) == 2);
  const auto aside = read_file(vmm.file(std::string(kConsoleLog) + ".0"));
  CHECK((aside.ok() && aside.value() == full));
}

namespace {

/// Puts the registers of the card in slot 1 at 3 GiB and takes it through its whole handshake with
/// a queue, again and again; prints the card's status plus '0' each time.
const std::initializer_list<int> kRestlessDriver = {
    0xbc, 0x00, 0xf0, 0x01, 0x00,                                // stack
    0xb8, 0x10, 0x08, 0x00, 0x80, 0xbb, 0x00, 0x00, 0x00, 0xc0,  // its BAR 0
    0xe8, 0xd1, 0x00, 0x00, 0x00,                                //
    0xb8, 0x14, 0x08, 0x00, 0x80, 0x31, 0xdb,                    // the upper half
    0xe8, 0xc5, 0x00, 0x00, 0x00,                                //
    0xb8, 0x04, 0x08, 0x00, 0x80, 0xbb, 0x06, 0x00, 0x00, 0x00,  // its command register
    0xe8, 0xb6, 0x00, 0x00, 0x00, 0x31, 0xff,                    //
    0xc6, 0x05, 0x14, 0x00, 0x00, 0xc0, 0x00,                    // again: reset
    0xa0, 0x14, 0x00, 0x00, 0xc0, 0x84, 0xc0, 0x75, 0xf7,        // wait until it is
    0xc6, 0x05, 0x14, 0x00, 0x00, 0xc0, 0x01,                    // acknowledge
    0xc6, 0x05, 0x14, 0x00, 0x00, 0xc0, 0x03,                    // driver
    0xc7, 0x05, 0x08, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00,  // features: VERSION_1 only
    0xc7, 0x05, 0x0c, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00,  //
    0xc7, 0x05, 0x08, 0x00, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x00,  //
    0xc7, 0x05, 0x0c, 0x00, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x00,  //
    0xc6, 0x05, 0x14, 0x00, 0x00, 0xc0, 0x0b,                    // features are chosen
    0x66, 0xc7, 0x05, 0x16, 0x00, 0x00, 0xc0, 0x00, 0x00,        // queue 0: where it lies
    0xc7, 0x05, 0x20, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x20, 0x00,  //
    0xc7, 0x05, 0x24, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00,  //
    0xc7, 0x05, 0x28, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x21, 0x00,  //
    0xc7, 0x05, 0x2c, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00,  //
    0xc7, 0x05, 0x30, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x22, 0x00,  //
    0xc7, 0x05, 0x34, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00,  //
    0x66, 0xc7, 0x05, 0x1c, 0x00, 0x00, 0xc0, 0x01, 0x00,        // the queue is on
    0xc6, 0x05, 0x14, 0x00, 0x00, 0xc0, 0x0f,                    // the driver is ready
    0x47, 0xa0, 0x14, 0x00, 0x00, 0xc0,                          //
    0x66, 0xba, 0xf8, 0x03, 0x04, 0x30, 0xee,                    // print
    0xe9, 0x4c, 0xff, 0xff, 0xff,                                //
    0x66, 0xba, 0xf8, 0x0c, 0xef, 0x66, 0xba, 0xfc, 0x0c,        // writes ebx to register eax
    0x89, 0xd8, 0xef, 0xc3};

std::size_t count_of(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("a guest that starts and resets a device all the time fills no log", "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kRestlessDriver);
  auto config = kernel.config();
  config.set_rng(true);
  const reeve::test::TempDir dir;
  const auto errors = open_file(dir / "errors", O_RDWR | O_CREAT | O_APPEND);
  REQUIRE(errors.ok());
  Resident vmm(config, {}, {}, errors.value().get());
  auto client = vmm.connect();
  const auto rounds = [&] {
    const auto reply = client.call(request_for([](auto& r) { r.mutable_get_status(); }), 10s);
    REQUIRE(reply.ok());
    return reply.value().status().console_offset();
  };
  const auto begun = std::chrono::steady_clock::now();
  while (rounds() < 300 && std::chrono::steady_clock::now() - begun < kEmulated) usleep(10'000);
  CHECK(rounds() >= 300);
  REQUIRE(client.call(request_for([](auto& r) { r.mutable_stop(); }), 10s).ok());
  CHECK(vmm.ends());
  CHECK(read_file(vmm.file(kConsoleLog)).value().find_first_not_of('0' + 0xf) == std::string::npos);
  // One line of the jail; starting a device takes long where KVM is emulated.
  const auto said = read_file(dir / "errors").value();
  INFO(said);
  CHECK(count_of(said, "\n") <= 2);
  CHECK(count_of(said, "slow task") <= 1);
}

TEST_CASE("rubbish on the control socket closes that connection only", "[control][kvm]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  Resident vmm(kernel.config());
  auto good = vmm.connect();
  auto bad = vmm.connect();
  REQUIRE(write(bad.fd(), "\xff\xff\xff\x7f rubbish", 12) == 12);
  CHECK(bad.next_event(5s).error().reason() == "VMM_GONE");
  CHECK(good.call(request_for([](auto& r) { r.mutable_get_status(); }), 5s).ok());
}

TEST_CASE("a process that cannot say how it ended has it said by its warden",
          "[control][kvm][root]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  Resident vmm(kernel.config());
  (void)vmm.connect();
  REQUIRE(kill(vmm.pid(), SIGKILL) == 0);
  CHECK(vmm.ends());
  CHECK(vmm.report().kind() == v1::ExitReport::KIND_KILLED);
  CHECK(vmm.report().code() == SIGKILL);
}

TEST_CASE("a process that ends by itself without a report has its code told by its warden",
          "[control][kvm][root]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  auto config = kernel.config();
  config.set_kernel_path("/nowhere/vmlinux");
  Resident vmm(config);
  CHECK(vmm.ends());
  CHECK(vmm.report().kind() == v1::ExitReport::KIND_CRASHED);
  CHECK(vmm.report().code() == 4);
  CHECK(vmm.report().message() ==
        "the process of the machine ended with code 4 and left no report");
}

TEST_CASE("a vsock path outside the run directory is refused by name", "[control]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  auto config = kernel.config();
  config.set_vsock_cid(3);
  config.set_vsock_path("/tmp/elsewhere");
  const reeve::test::TempDir dir;
  std::ofstream(dir / kMachineFile, std::ios::binary) << config.SerializeAsString();
  const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
  const auto done = run({.argv = {program.string(), "--run-dir", dir.path().string()}});
  REQUIRE(done.ok());
  CHECK(done.value().exit_code == 4);
  CHECK(done.value().errors.find("JAIL_VSOCK_PATH") != std::string::npos);
}

namespace {

/// A machine of 1 GiB with 200 MiB in use, saved after it had said "hi".
std::string save_machine_of(const v1::MachineConfig& config, const std::filesystem::path& to) {
  auto kvm = core::test::kvm_or_skip();
  auto vm = Vm::create(config, *kvm);
  REQUIRE(vm.ok());
  REQUIRE(vm.value()->start().ok());
  for (int i = 0; i < 1000 && vm.value()->console().end_offset() < 2; ++i)
    (void)vm.value()->wait_until_ended(2ms);
  REQUIRE(vm.value()->pause().ok());
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> words((1 << 20) / 8);
  for (Gpa at = 0x1000000; at < 0x1000000 + (200u << 20); at += 1 << 20) {
    std::generate(words.begin(), words.end(), std::ref(random));
    REQUIRE(vm.value()->board().memory().write(at, std::as_bytes(std::span(words))));
  }
  const auto file = open_file(to, O_RDWR | O_CREAT | O_TRUNC);
  REQUIRE(file.ok());
  FdSink sink(file.value().get());
  REQUIRE(vm.value()->save(sink).ok());
  return to.string();
}

}  // namespace

TEST_CASE("a machine that is being saved says so to whoever asks meanwhile",
          "[control][kvm][root]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  auto config = kernel.config();
  config.set_memory_mib(1024);
  const reeve::test::TempDir dir;
  const auto saved = save_machine_of(config, dir / "state");
  Resident vmm(config, {}, saved);
  auto saver = vmm.connect();
  auto other = vmm.connect();
  REQUIRE(saver.call(request_for([](auto& r) { r.mutable_pause(); }), 10s).ok());
  const auto status = [&] {
    const auto reply = other.call(request_for([](auto& r) { r.mutable_get_status(); }), 10s);
    REQUIRE(reply.ok());
    return reply.value().status();
  };
  for (int i = 0; i < 1000 && status().memory_to_read_bytes() != 0; ++i) usleep(10'000);
  CHECK(status().doing().empty());
  REQUIRE(
      saver.send(request_for([](auto& r) { r.mutable_save()->set_file_name("again"); }), 5s).ok());
  std::string told;
  const auto begun = std::chrono::steady_clock::now();
  for (auto now = status(); told.empty() || !now.doing().empty(); now = status()) {
    REQUIRE(std::chrono::steady_clock::now() - begun < kEmulated);
    usleep(1'000);  // one processor may have to do it all
    REQUIRE(now.state() == v1::MachineStatus::STATE_PAUSED);
    if (!now.doing().empty()) told = now.doing();
  }
  INFO(told);
  CHECK(told.starts_with("is being saved, "));
  CHECK(told.ends_with(" MiB written so far"));
  CHECK(std::filesystem::file_size(vmm.file("again")) > (190u << 20));
  // In turn: what was asked for later is done later.
  REQUIRE(saver.send(request_for([](auto& r) { r.mutable_resume(); }), 5s).ok());
  const auto stopped = saver.call(request_for([](auto& r) { r.mutable_stop(); }), 10s);
  REQUIRE(stopped.ok());
  CHECK(stopped.value().status().state() == v1::MachineStatus::STATE_ENDED);
  CHECK(vmm.ends());
}

TEST_CASE("a jailed process goes on with a saved machine before it has read its memory",
          "[control][kvm][root][lazy]") {
  if (!core::test::kvm_or_skip()) return;
  const core::test::PayloadKernel kernel(kEcho);
  auto config = kernel.config();
  config.set_memory_mib(1024);
  const reeve::test::TempDir dir;
  const auto saved = save_machine_of(config, dir / "state");
  const auto size = std::filesystem::file_size(saved);
  CHECK(size < (220u << 20));
  SECTION("sound") {
    std::uint64_t left = 0;
    // On a busy host all memory may be there before our question arrives.
    for (int attempt = 0; attempt < 10 && left == 0; ++attempt) {
      const auto begin = std::chrono::steady_clock::now();
      Resident vmm(config, {}, saved);
      auto client = vmm.connect(200us);
      const auto status = client.call(request_for([](auto& r) { r.mutable_get_status(); }), 5s);
      const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::steady_clock::now() - begin);
      REQUIRE(status.ok());
      CHECK(status.value().status().state() == v1::MachineStatus::STATE_RUNNING);
      left = status.value().status().memory_to_read_bytes();
      REQUIRE(
          client.call(request_for([](auto& r) { r.mutable_write_console()->set_input("z"); }), 5s)
              .ok());
      REQUIRE(client.call(request_for([](auto& r) { r.mutable_watch_console(); }), 5s).ok());
      CHECK(console(client, 1) == "z");
      WARN("process start to a running guest of 1 GiB, 200 MiB of it used: "
           << took.count() << " ms; file " << size << " bytes");
    }
    CHECK(left > 0);
  }
  SECTION("damaged where the guest does not look at once") {
    std::fstream file(saved, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size / 2));
    file.write("damage", 6);
    file.close();
    Resident vmm(config, {}, saved);
    CHECK(vmm.ends());
    CHECK(vmm.report().kind() == v1::ExitReport::KIND_MEMORY_LOST);
    CHECK(vmm.report().message().find("STATE_CHECKSUM") != std::string::npos);
  }
}

}  // namespace reeve::core::control
