// What only the driver of the own core promises; the rest is in tests/contract.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <map>
#include <thread>

#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/driver/core/cgroups.h"
#include "agent/driver/core/driver.h"
#include "agent/driver/core/seen.h"
#include "agent/driver/core/vmm_process.h"
#include "agent/driver/core/watcher.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/subprocess.h"
#include "base/unix_socket.h"
#include "base/uuid.h"
#include "hypervisor_core/control/frame.h"
#include "hypervisor_core/sandbox/user.h"
#include "tests/hypervisor_core/support/console_guest.h"
#include "tests/hypervisor_core/support/payload.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/support/temp_dir.h"

namespace reeve::agent::core_driver {
namespace {

using namespace std::chrono_literals;

class Bed {
 public:
  explicit Bed(bool usable = true) : usable_(usable) { restart(); }
  ~Bed() { (void)driver_->power_off(guest_.uid); }
  void restart() {
    driver_.reset();
    CoreOptions options;
    options.records = dir_ / "records";
    options.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
    options.version = "test";
    options.boot_id = boot_id_;
    options.usable = usable_;
    options.description = "KVM is for another day";
    driver_ = std::move(CoreDriver::create(std::move(options), RealClock::instance())).value();
  }
  CoreDriver& driver() { return *driver_; }
  GuestDefinition& guest() { return guest_; }
  void define() {
    const auto defined = driver_->define(guest_);
    INFO((defined.ok() ? "" : defined.error().message()));
    REQUIRE(defined.ok());
  }
  void define_and_start() {
    define();
    const auto started = driver_->start(guest_.uid);
    INFO((started.ok() ? "" : started.error().message()));
    REQUIRE(started.ok());
  }
  pid_t pid() const {
    const auto process = VmmProcess::find(guest_.run_dir + "/vmm");
    return process ? process->pid() : 0;
  }
  GuestSeen seen() { return driver_->get(guest_.uid).value(); }
  bool becomes(GuestState state) {
    for (int i = 0; i < 500; ++i) {
      if (seen().state == state) return true;
      std::this_thread::sleep_for(20ms);
    }
    return false;
  }
  /// In every hierarchy that limits it; true where there are none.
  bool is_in_groups() {
    const auto groups = Cgroups::find();
    if (groups.layout() == Cgroups::Layout::None || ::geteuid() != 0) return true;
    const bool v2 = groups.layout() == Cgroups::Layout::V2;
    for (const std::string hierarchy : {"cpu/", "memory/"}) {
      const auto procs = read_file("/sys/fs/cgroup/" + (v2 ? "" : hierarchy) + "reeve/" +
                                   guest_.uid + "/cgroup.procs");
      if (!procs.ok() || procs.value().find(std::to_string(pid())) == std::string::npos)
        return false;
    }
    return true;
  }
  void set_boot_id(const std::string& id) { boot_id_ = id; }

 private:
  const bool usable_;
  std::string boot_id_ = "boot";
  reeve::test::TempDir dir_;
  const core::test::PayloadKernel kernel_{core::test::kConsoleGuest};
  GuestDefinition guest_{.uid = new_uuid(SystemRandom::instance()),
                         .display_name = "web",
                         .memory_mib = 16,
                         .kernel_path = kernel_.path(),
                         .run_dir = dir_ / "run"};
  std::unique_ptr<CoreDriver> driver_;
};

bool kvm_here() {
  return core::test::kvm_or_skip() != nullptr;
}

}  // namespace

TEST_CASE("a machine whose process is killed has crashed, and starts again", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  const pid_t first = bed.pid();
  REQUIRE(first > 0);
  REQUIRE(::kill(first, SIGKILL) == 0);
  REQUIRE(bed.becomes(GuestState::Crashed));
  CHECK(bed.seen().state_reason.find("signal 9") != std::string::npos);
  REQUIRE(bed.driver().start(bed.guest().uid).ok());
  CHECK(bed.seen().state == GuestState::Running);
  CHECK(bed.pid() != first);
}

TEST_CASE("machines whose UUIDs would give them one user have users of their own",
          "[core][kvm][root]") {
  if (!kvm_here()) return;
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  // Some five thousand UUIDs have two of one user among them.
  std::map<std::uint32_t, std::string> by_user;
  std::string first, second;
  while (second.empty()) {
    auto uuid = new_uuid(SystemRandom::instance());
    const auto [known, is_new] = by_user.emplace(core::sandbox::user_of(uuid), uuid);
    if (!is_new) first = known->second, second = uuid;
  }
  Bed bed;
  const auto user = [&](const std::string& uid, const std::string& run_dir) {
    const auto process = VmmProcess::find(run_dir + "/vmm");
    if (!process) FAIL("no process of " << uid);
    const auto status = read_file("/proc/" + std::to_string(process->pid()) + "/status").value();
    return std::stoul(status.substr(status.find("Uid:") + 4));
  };
  const std::string base = bed.guest().run_dir;
  const auto start = [&](const std::string& uid) {
    bed.guest().uid = uid;
    bed.guest().run_dir = base + "-" + uid;
    bed.define_and_start();
    return user(uid, bed.guest().run_dir);
  };
  const auto of_first = start(first), of_second = start(second);
  CHECK(of_first == core::sandbox::user_of(first));
  CHECK(of_second == core::sandbox::user_after(core::sandbox::user_of(first)));
  // It keeps its own, also with an agent that starts anew and without the other.
  REQUIRE(bed.driver().power_off(first).ok());
  REQUIRE(bed.driver().undefine(first).ok());
  REQUIRE(bed.driver().power_off(second).ok());
  bed.restart();
  CHECK(start(second) == of_second);
}

TEST_CASE("a machine whose processor could not go on says where, the agent's log has all registers",
          "[core][kvm]") {
  if (!kvm_here()) return;
  std::string logged;
  Mutex mutex;
  log::set_sink([&](std::string_view line) {
    Lock lock(mutex);
    logged += line;
  });
  {
    const core::test::PayloadKernel kernel{0xbb, 0x78, 0x56, 0x34, 0x12,  // ebx = 0x12345678
                                           0xb9, 0,    0,    0x10, 0,     // ecx = a million
                                           0xe2, 0xfe,   // loop: who ends at once has not started
                                           0x0f, 0x0b};  // ud2, without an IDT
    Bed bed;
    bed.guest().kernel_path = kernel.path();
    bed.define_and_start();
    REQUIRE(bed.becomes(GuestState::Crashed));
    const auto reason = bed.seen().state_reason;
    CAPTURE(reason);
    CHECK(reason.find(" on vCPU 0") != std::string::npos);
    CHECK((reason.find("rip=") != std::string::npos ||
           reason.find("registers lost") != std::string::npos));
    CHECK(reason.find('\n') == std::string::npos);
    if (reason.find("triple fault") == std::string::npos)
      CHECK(reason.find("instruction 0f0b") != std::string::npos);
    const auto has_logged = [&](const char* text) {
      Lock lock(mutex);
      return logged.find(text) != std::string::npos;
    };
    const char* line = "the processor of a machine could not go on";
    for (int i = 0; i < 500 && !has_logged(line); ++i) std::this_thread::sleep_for(10ms);
    CHECK(has_logged(line));
    CHECK((has_logged("cr3=") || has_logged("registers lost")));
  }
  log::set_sink({});
}

TEST_CASE("a machine is started at once after it has ended, again and again", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  const auto& uid = bed.guest().uid;
  // What the watcher releases of the run before must not be what the next one holds.
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    const pid_t before = bed.pid();
    if (i % 2 == 0) {
      REQUIRE(bed.driver().power_off(uid).ok());
    } else {
      REQUIRE(::kill(before, SIGKILL) == 0);
      REQUIRE(bed.becomes(GuestState::Crashed));
    }
    const auto started = bed.driver().start(uid);
    INFO((started.ok() ? "" : started.error().message()));
    REQUIRE(started.ok());
    REQUIRE(bed.seen().state == GuestState::Running);
    CHECK(bed.pid() != before);
    if (bed.driver().facts().warnings.empty()) CHECK(bed.is_in_groups());
  }
}

TEST_CASE("the warden of a machine is heard by an agent that did not start it",
          "[core][kvm][root]") {
  if (!kvm_here()) return;
  Bed bed;
  for (int i = 0; i < 10; ++i) {
    bed.define_and_start();
    bed.restart();
    REQUIRE(::kill(bed.pid(), SIGKILL) == 0);
    auto seen = bed.seen();
    while (seen.state != GuestState::Crashed) seen = bed.seen();
    CHECK(seen.state_reason.find("signal 9") != std::string::npos);
  }
}

TEST_CASE("of a machine whose process and warden are gone only that is said", "[core][kvm][root]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  // It dies with its warden, its parent.
  const auto warden = process_parent(bed.pid());
  REQUIRE(warden.ok());
  REQUIRE(warden.value() > 1);
  REQUIRE(warden.value() != ::getpid());
  REQUIRE(::kill(warden.value(), SIGKILL) == 0);
  REQUIRE(bed.becomes(GuestState::Crashed));
  CHECK(bed.seen().state_reason == "its vmm process is gone and left no report");
}

TEST_CASE("a machine whose process stands still is asked in vain, but not for ever, and is ended",
          "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  const auto process = VmmProcess::find(bed.guest().run_dir + "/vmm");
  REQUIRE(process);
  REQUIRE(::kill(process->pid(), SIGSTOP) == 0);
  // More of them than its socket has room for.
  for (int i = 0; i < 12; ++i) {
    CAPTURE(i);
    core::v1::ControlRequest request;
    request.mutable_get_status();
    const auto begun = std::chrono::steady_clock::now();
    const auto reply = process->call(std::move(request), 200ms);
    REQUIRE_FALSE(reply.ok());
    CHECK(reply.error().reason() == "HYPERVISOR_BUSY");
    CHECK(std::chrono::steady_clock::now() - begun < 2s);
  }
  const auto begun = std::chrono::steady_clock::now();
  REQUIRE(bed.driver().power_off(bed.guest().uid).ok());
  CHECK(std::chrono::steady_clock::now() - begun < 15s);
  CHECK(bed.seen().state == GuestState::Stopped);
  CHECK(bed.seen().state_reason == "powered off");
}

namespace {

/// A process that stands for a reeve-vmm in somebody else's hands: it lives, and its control socket
/// is ours.
class Captured {
 public:
  Captured() {
    listener_ = listen_unix(folder() + "/control.sock", 4).value();
    auto spawned = Process::spawn({"sleep", "1000"}, {}, Process::Session::Own);
    REQUIRE(spawned.ok());
    sleep_ = std::move(spawned).value();
    const auto ticks = process_start_ticks(sleep_->pid()).value();
    REQUIRE(write_file_durably(folder() + "/vmm.pid",
                               std::to_string(sleep_->pid()) + " " + std::to_string(ticks) + "\n")
                .ok());
  }
  ~Captured() { kill(); }
  std::string folder() const { return dir_.path().string(); }
  std::shared_ptr<const VmmProcess> process() const {
    auto found = VmmProcess::find(folder());
    REQUIRE(found);
    return std::make_shared<const VmmProcess>(std::move(*found));
  }
  int listener() const { return listener_.get(); }
  void kill() {
    if (!sleep_) return;
    sleep_->signal(SIGKILL);
    (void)sleep_->wait(5s);
    sleep_.reset();
  }

 private:
  reeve::test::TempDir dir_;
  Fd listener_;
  std::optional<Process> sleep_;
};

}  // namespace

TEST_CASE("a vmm process that tells without end is heard in its turn, and others in theirs",
          "[core]") {
  Captured flooding, other;
  std::atomic<bool> goes_on{true};
  std::atomic<std::uint64_t> sent{0};
  std::thread flood([&] {
    core::v1::ControlMessage message;
    (void)message.mutable_event();
    std::string many;
    while (many.size() < (1 << 20)) core::control::append_frame(many, message.SerializeAsString());
    pollfd wait{flooding.listener(), POLLIN, 0};
    if (::poll(&wait, 1, 10'000) != 1) return;
    const Fd socket(::accept(flooding.listener(), nullptr, nullptr));
    // So much that it lasts when this thread has to wait for its turn. More than root may not.
    const int much = 8 << 20;
    (void)setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &much, sizeof much);
    for (std::size_t at = 0; goes_on;) {
      pollfd room{socket.get(), POLLOUT, 0};
      if (::poll(&room, 1, 100) != 1) continue;
      const auto n =
          ::send(socket.get(), many.data() + at, many.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) return;
      at = (at + static_cast<std::size_t>(n)) % many.size();
      ++sent;
    }
  });
  std::atomic<int> changes{0};
  std::atomic<bool> other_ended{false};
  Watcher watcher({.changed = [&](const auto&) { ++changes; },
                   .ended = [&](const auto& uid, const auto&) { other_ended = uid == "other"; }});
  watcher.add("flooding", flooding.process());
  watcher.add("other", other.process());
  for (int i = 0; i < 500 && (sent < 20 || changes < 3); ++i) std::this_thread::sleep_for(10ms);
  CHECK(changes >= 3);
  const int before = changes;
  const auto begun = std::chrono::steady_clock::now();
  other.kill();
  for (int i = 0; i < 500 && !other_ended; ++i) std::this_thread::sleep_for(10ms);
  CHECK(other_ended);
  std::this_thread::sleep_for(200ms);
  // What is told on takes time elsewhere, too: the observer asks, the server hears.
  const auto took = std::chrono::steady_clock::now() - begun;
  CHECK(changes - before <= took / 20ms + 2);
  goes_on = false;
  flood.join();
}

TEST_CASE("a machine that does not answer holds up the look at all machines once", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  const pid_t pid = bed.pid();
  REQUIRE(::kill(pid, SIGSTOP) == 0);
  const auto look = [&] {
    const auto begun = std::chrono::steady_clock::now();
    const auto all = bed.driver().list();
    REQUIRE((all.ok() && all.value().size() == 1));
    CHECK(bed.driver().use().ok());
    return std::pair(std::chrono::steady_clock::now() - begun, all.value()[0]);
  };
  auto [first, seen] = look();
  CHECK(first >= 4s);
  CHECK(first < 9s);
  CHECK(seen.state_reason == "its vmm process does not answer");
  for (int i = 0; i < 3; ++i) CHECK(look().first < 3s);
  REQUIRE(::kill(pid, SIGCONT) == 0);
  auto last = look();
  for (int i = 0; i < 50 && !last.second.state_reason.empty(); ++i) last = look();
  CHECK(last.second.state == GuestState::Running);
  CHECK(last.second.state_reason.empty());
}

TEST_CASE("a machine that is being started is not seen crashed", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define();
  std::atomic<bool> done = false;
  std::atomic<int> crashed = 0, looks = 0;
  std::thread other([&] {
    for (; !done; ++looks)
      if (const auto seen = bed.driver().get(bed.guest().uid);
          seen.ok() && seen.value().state == GuestState::Crashed)
        ++crashed;
  });
  const auto started = bed.driver().start(bed.guest().uid);
  done = true;
  other.join();
  CHECK(started.ok());
  CHECK(looks > 0);
  CHECK(crashed == 0);
}

TEST_CASE("a machine that ends while the agent is away is seen as it ended", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  const pid_t pid = bed.pid();
  bed.restart();
  CHECK(bed.seen().state == GuestState::Running);
  CHECK(bed.pid() == pid);
  REQUIRE(bed.driver().request_shutdown(bed.guest().uid).ok());
  REQUIRE(bed.becomes(GuestState::Stopped));
  bed.restart();
  CHECK(bed.seen().state == GuestState::Stopped);
  CHECK(bed.seen().state_reason == "shut down");
}

TEST_CASE("after the host has gone down its machines are off, not crashed", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.define_and_start();
  REQUIRE(::kill(bed.pid(), SIGKILL) == 0);
  REQUIRE(bed.becomes(GuestState::Crashed));
  REQUIRE(remove_file(bed.guest().run_dir + "/vmm/exit.pb").ok());
  bed.set_boot_id("the next boot");
  bed.restart();
  CHECK(bed.seen().state == GuestState::Stopped);
  CHECK(bed.seen().state_reason == "the host went down");
}

TEST_CASE("a start that fails says why and leaves the machine off", "[core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.guest().kernel_path = "/nowhere/vmlinux";
  bed.define();
  const auto started = bed.driver().start(bed.guest().uid);
  REQUIRE_FALSE(started.ok());
  CHECK(started.error().reason() == "GUEST_START_FAILED");
  CHECK(started.error().message().find("/nowhere/vmlinux") != std::string::npos);
  CHECK(bed.seen().state == GuestState::Stopped);
  CHECK(bed.seen().state_reason.find("/nowhere/vmlinux") != std::string::npos);
}

TEST_CASE("a machine whose network has gone says so, and what brings it back", "[core]") {
  core::v1::GuestRecord record;
  core::v1::MachineStatus status;
  status.set_state(core::v1::MachineStatus::STATE_RUNNING);
  CHECK(seen_running(record, status).state_reason.empty());
  status.set_lost_network("network card 'net0': its passt on the host has gone");
  const auto seen = seen_running(record, status);
  CHECK(seen.state == GuestState::Running);
  CHECK(seen.state_reason ==
        "network card 'net0': its passt on the host has gone; it comes back when the guest is "
        "stopped and started");
}

TEST_CASE("a machine that is being saved or paused says so", "[core]") {
  core::v1::GuestRecord record;
  core::v1::MachineStatus status;
  status.set_state(core::v1::MachineStatus::STATE_PAUSED);
  status.set_doing("is being saved, 12 MiB written so far");
  const auto seen = seen_running(record, status);
  CHECK(seen.state == GuestState::Paused);
  CHECK(seen.state_reason == "it is being saved, 12 MiB written so far");
}

TEST_CASE("a machine that was saved says so, however far its agent came with its end", "[core]") {
  const reeve::test::TempDir dir;
  std::filesystem::create_directories(dir / "vmm");
  core::v1::GuestRecord record;
  record.set_run_dir(dir.path().string());
  record.set_boot_id("boot");
  record.set_start_time_us(1);
  record.set_end_reason("saved");
  const auto check_saved = [&] {
    const auto seen = seen_off(record, "boot");
    CHECK(seen.state == GuestState::Stopped);
    CHECK(seen.state_reason == "saved");
  };
  check_saved();
  for (const std::uint64_t signal : {0, 9}) {
    core::v1::ExitReport report;
    report.set_kind(core::v1::ExitReport::KIND_KILLED);
    report.set_code(signal);
    REQUIRE(write_file_durably(dir / "vmm/exit.pb", report.SerializeAsString()).ok());
    check_saved();
  }
  record.set_start_time_us(0);
  check_saved();
}

TEST_CASE("a machine without a kernel is refused", "[core]") {
  Bed bed;
  bed.guest().kernel_path.clear();
  const auto defined = bed.driver().define(bed.guest());
  REQUIRE_FALSE(defined.ok());
  CHECK(defined.error().reason() == "GUEST_INVALID");
  CHECK(defined.error().message().find("kernel") != std::string::npos);
}

TEST_CASE("a core that cannot run here says so, and starts nothing", "[core]") {
  Bed bed(false);
  CHECK_FALSE(bed.driver().facts().available);
  CHECK(bed.driver().facts().description == "KVM is for another day");
  bed.define();
  const auto started = bed.driver().start(bed.guest().uid);
  REQUIRE_FALSE(started.ok());
  CHECK(started.error().reason() == "NOT_SUPPORTED");
}

TEST_CASE("a running machine is in control groups that bound it", "[core][kvm][root]") {
  if (!kvm_here()) return;
  const auto groups = Cgroups::find();
  if (groups.layout() == Cgroups::Layout::None || ::geteuid() != 0) {
    WARN("skipped: no control groups to write to");
    return;
  }
  Bed bed;
  bed.define_and_start();
  if (!bed.driver().facts().warnings.empty()) {
    WARN("skipped: " << bed.driver().facts().warnings[0]);
    return;
  }
  const bool v2 = groups.layout() == Cgroups::Layout::V2;
  const std::string name = "reeve/" + bed.guest().uid;
  const std::string cpu = "/sys/fs/cgroup/" + std::string(v2 ? "" : "cpu/") + name;
  const std::string memory = "/sys/fs/cgroup/" + std::string(v2 ? "" : "memory/") + name;
  const auto pid = std::to_string(bed.pid());
  CHECK(read_file(cpu + "/cgroup.procs").value().find(pid) != std::string::npos);
  CHECK(read_file(memory + "/cgroup.procs").value().find(pid) != std::string::npos);
  const auto limit = read_file(memory + (v2 ? "/memory.max" : "/memory.limit_in_bytes")).value();
  CHECK(std::stoull(limit) == (16ull + 128) << 20);
  REQUIRE(bed.driver().power_off(bed.guest().uid).ok());
  CHECK_FALSE(std::filesystem::exists(cpu));
  CHECK_FALSE(std::filesystem::exists(memory));
}

TEST_CASE("a card on a bridge has a tap there while the machine runs", "[core][kvm][root]") {
  if (!kvm_here()) return;
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  const std::string bridge = "rvt" + std::to_string(::getpid());
  const auto made = run({.argv = {"ip", "link", "add", bridge, "type", "bridge"}});
  if (!made.ok() || made.value().exit_code != 0) {
    WARN("skipped: this machine makes no bridges");
    return;
  }
  const auto ports = [&] {
    return run({.argv = {"ip", "-o", "link", "show", "master", bridge}}).value().output;
  };
  {
    Bed bed;
    const std::string tap = "rv" + bed.guest().uid.substr(0, 8) + "n0";
    // What the host's kernel says of it: a queue of the tap for each pair, used or not.
    const auto queues = [&] {
      const auto shown = run({.argv = {"ip", "-d", "link", "show", "dev", tap}}).value().output;
      INFO(shown);
      const auto number = [&](const std::string& name) {
        const auto at = shown.find(name + " ");
        return at == std::string::npos ? 0 : std::stoi(shown.substr(at + name.size() + 1));
      };
      if (shown.find(" multi_queue ") == std::string::npos) return 1;
      return number("numqueues") + number("numdisabled");
    };
    bed.guest().nics = {{.id = "nic0", .mac = "52:54:00:00:00:01", .bridge = bridge}};
    for (const int cpus : {1, 3, 12}) {
      CAPTURE(cpus);
      bed.guest().cpus = cpus;
      // One that an agent left behind, which has another number of queues.
      (void)run({.argv = {"ip", "tuntap", "add", "dev", tap, "mode", "tap", "one_queue"}});
      bed.define_and_start();
      CHECK(ports().find(tap) != std::string::npos);
      CHECK(queues() == std::min(cpus, 8));
      REQUIRE(bed.driver().power_off(bed.guest().uid).ok());
      CHECK(ports().empty());
    }
    bed.guest().nics[0].bridge = "no-such-bridge";
    bed.define();
    const auto refused = bed.driver().start(bed.guest().uid);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().reason() == "NETWORK_UNAVAILABLE");
  }
  (void)run({.argv = {"ip", "link", "delete", bridge}});
}

}  // namespace reeve::agent::core_driver
