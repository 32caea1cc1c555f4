// The agent is killed at every point of a restore, on the real core: the machine that ran meanwhile
// and powered off is not brought back from the same saved state. And in the midst of a save, which
// goes on without it.
//
// Agents are child processes; this process makes none of the threads that a fork would lose.
#include <csignal>
#include <fstream>
#include <functional>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/driver/core/driver.h"
#include "agent/driver/core/vmm_process.h"
#include "agent/executor/step.h"
#include "agent/storage/dir_store.h"
#include "base/file.h"
#include "base/uuid.h"
#include "tests/hypervisor_core/support/console_guest.h"
#include "tests/hypervisor_core/support/payload_kernel.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;
using core_driver::VmmProcess;
using Status = core::v1::MachineStatus;

/// May be set ahead.
class AheadClock final : public Clock {
 public:
  WallTime wall() const override { return RealClock::instance().wall(); }
  Monotonic monotonic() const override { return RealClock::instance().monotonic() + ahead; }
  std::chrono::seconds ahead{0};
};

/// What an agent has of its host.
struct World {
  World(const std::string& data, std::function<void(std::string_view)> at) {
    store = DirStore::open({.data = data, .import_dirs = {"/"}, .at = std::move(at)}).value();
    core_driver::CoreOptions options;
    options.records = data + "/core";
    options.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
    options.boot_id = "boot";
    options.usable = true;
    driver = core_driver::CoreDriver::create(std::move(options), clock).value();
    steps.drivers = {{"core", driver.get()}};
    steps.store = store.get();
    steps.clock = &RealClock::instance();
    steps.policy.hypervisors = {"core"};
  }
  bool run(const v1::Action& action) {
    const std::atomic<bool> cancelled{false};
    StepContext context{steps, cancelled, [](const std::string&, std::int64_t, std::int64_t) {}};
    const auto step = make_step(action);
    for (;;) {
      const auto how = step->advance(context);
      if (!how.ok()) fprintf(stderr, "step: %s\n", how.error().message().c_str());
      if (!how.ok() || how.value().done) return how.ok();
      std::this_thread::sleep_for(how.value().again);
    }
  }
  AheadClock clock;
  std::unique_ptr<DirStore> store;
  std::unique_ptr<Driver> driver;
  StepWorld steps{};
};

class Bed {
 public:
  Bed() : Bed(core::test::kConsoleGuest, 16) {}
  Bed(std::initializer_list<int> code, int memory_mib) : kernel_(code) {
    spec_.set_memory_mib(memory_mib);
    // Where /tmp is in memory, the saved state counts as memory of the machine's process.
    spec_.mutable_limits()->set_memory_limit_mib(2 * memory_mib + 512);
    REQUIRE(make_dirs(data()).ok());
    REQUIRE(agent([&](World& world) {
      v1::ImportImage kernel;
      kernel.set_uid(spec_.kernel_image());
      kernel.set_kind(reeve::v1::Image::KIND_KERNEL);
      kernel.set_host_path(kernel_.path());
      v1::Action prepare, define;
      *prepare.mutable_prepare_guest()->mutable_spec() = spec_;
      *define.mutable_define_guest()->mutable_spec() = spec_;
      return world.store->import_file(kernel, [](auto, auto) { return true; }).ok() &&
             world.run(prepare) && world.run(define);
    }));
  }
  ~Bed() {
    if (const auto process = vmm()) (void)process->end();
  }

  /// Runs `work` in an agent; false when it failed or was killed.
  bool agent(const std::function<bool(World&)>& work,
             const std::function<void(std::string_view)>& at = {}) const {
    return succeeds(begin_agent(work, at));
  }
  pid_t begin_agent(const std::function<bool(World&)>& work,
                    const std::function<void(std::string_view)>& at = {}) const {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      World world(data(), at);
      const bool done = work(world);
      ::_exit(done ? 0 : 1);
    }
    return child;
  }
  static bool succeeds(pid_t child) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  void start_and_save() const {
    REQUIRE(agent([&](World& world) {
      return world.run(of(&v1::Action::mutable_start_guest)) && world.run(saving());
    }));
  }
  template <class Target>
  v1::Action of(Target* (v1::Action::*verb)()) const {
    v1::Action action;
    (action.*verb)()->set_uid(spec_.uid());
    (action.*verb)()->set_hypervisor("core");
    return action;
  }
  v1::Action saving() const { return of(&v1::Action::mutable_save_guest); }
  v1::Action restoring() const { return of(&v1::Action::mutable_restore_guest); }
  /// As a server does with a step in doubt: looks, and runs it again until it is done.
  void take_up() const {
    const auto action = restoring();
    CHECK(agent([&](World& world) {
      const auto is_done = [&] {
        return look(action, world.steps).outcome() == v1::StepSeen::OUTCOME_DONE;
      };
      for (int i = 0; i < 5 && !is_done(); ++i) (void)world.run(action);
      return is_done();
    }));
  }
  std::optional<VmmProcess> vmm() const {
    return VmmProcess::find(data() + "/guests/" + spec_.uid() + "/run/vmm");
  }
  /// Of the process that an agent left behind, once it has one.
  Status::State left_behind() const {
    auto process = vmm();
    if (!process) return Status::STATE_ENDED;
    core::v1::ControlRequest request;
    request.mutable_get_status();
    for (int i = 0; i < 500; ++i, std::this_thread::sleep_for(10ms)) {
      const auto reply = process->call(request, 5s);
      if (reply.ok()) return reply.value().status().state();
      if (!process->is_alive()) break;
    }
    return Status::STATE_ENDED;
  }
  void guest_powers_off() const {
    auto process = vmm();
    REQUIRE(process);
    core::v1::ControlRequest request;
    request.mutable_press_power_button();
    REQUIRE(process->call(std::move(request), 5s).ok());
    REQUIRE(process->wait(60s));
  }
  bool offers_a_saved_state() const {
    return agent([&](World& world) { return world.store->saved_state(spec_.uid()).ok(); });
  }
  std::string data() const { return dir_ / "data"; }
  std::string folder() const { return data() + "/guests/" + spec_.uid(); }

 private:
  test::TempDir dir_;
  const core::test::PayloadKernel kernel_;
  v1::GuestSpec spec_ = [] {
    v1::GuestSpec spec;
    spec.set_uid(new_uuid(SystemRandom::instance()));
    spec.set_display_name("web");
    spec.set_hypervisor("core");
    spec.set_cpus(1);
    spec.set_memory_mib(16);
    spec.set_kernel_image(new_uuid(SystemRandom::instance()));
    auto& disk = *spec.add_disks();
    disk.set_id("disk0");
    disk.set_format(reeve::v1::DISK_FORMAT_QCOW2);
    disk.set_size_bytes(1 << 20);
    return spec;
  }();
};

/// What became of a restore whose agent was killed, after the guest did as it liked.
void check_aftermath(const Bed& bed) {
  const bool ran = bed.left_behind() == Status::STATE_RUNNING;
  if (ran) {
    CHECK_FALSE(bed.offers_a_saved_state());
    bed.guest_powers_off();
  }
  bed.take_up();
  CHECK_FALSE(bed.offers_a_saved_state());
  if (ran) {
    CHECK_FALSE(bed.vmm());  // it is off, and stays off
  } else if (const auto process = bed.vmm()) {
    CHECK(bed.left_behind() == Status::STATE_RUNNING);
    CHECK(process->end().ok());
  }
}

bool kvm_here() {
  if (::access("/dev/kvm", R_OK | W_OK) == 0) return true;
  WARN("skipped: no /dev/kvm");
  return false;
}

}  // namespace

TEST_CASE("an agent killed between restore and report leaves no state to be used twice",
          "[agent][core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  for (const std::string_view point :
       {"use_state.begin", "use_state.visible", "free_state.begin"}) {
    INFO(point);
    bed.start_and_save();
    CHECK(bed.offers_a_saved_state());
    CHECK_FALSE(bed.agent([&](World& world) { return world.run(bed.restoring()); },
                          [point](std::string_view at) {
                            if (at == point) ::kill(::getpid(), SIGKILL);
                          }));
    const auto state = bed.left_behind();
    CHECK(state == (point == "free_state.begin" ? Status::STATE_RUNNING : Status::STATE_PAUSED));
    CHECK(bed.offers_a_saved_state() == (point == "use_state.begin"));
    check_aftermath(bed);
    if (const auto process = bed.vmm()) CHECK(process->end().ok());
  }
}

TEST_CASE("an agent killed at any moment of a restore leaves no state to be used twice",
          "[agent][core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  for (int moment = 0; moment < 12; ++moment) {
    INFO("after " << moment * 4 << " ms");
    bed.start_and_save();
    bed.agent([&](World& world) -> bool {
      std::thread([moment] {
        std::this_thread::sleep_for(moment * 4ms);
        ::kill(::getpid(), SIGKILL);
      }).detach();
      (void)world.run(bed.restoring());
      for (;;) ::pause();
    });
    check_aftermath(bed);
    if (const auto process = bed.vmm()) CHECK(process->end().ok());
  }
}

TEST_CASE("a restore whose vmm process dies before it runs leaves the state as it was",
          "[agent][core][kvm]") {
  if (!kvm_here()) return;
  Bed bed;
  bed.start_and_save();
  bed.agent([&](World& world) { return world.run(bed.restoring()); },
            [](std::string_view at) {
              if (at == "use_state.begin") ::kill(::getpid(), SIGKILL);
            });
  REQUIRE(bed.left_behind() == Status::STATE_PAUSED);
  REQUIRE(bed.vmm()->end().ok());
  CHECK(bed.offers_a_saved_state());
  bed.take_up();
  CHECK(bed.left_behind() == Status::STATE_RUNNING);
}

namespace {

constexpr int kLargeMib = 512;
/// Writes to each page from 16 MiB on, so that a save takes its time, says "R" and halts.
const std::initializer_list<int> kLargeGuest = {
    0xbf, 0x00, 0x00, 0x00, 0x01,        // edi = 16 MiB
    0xb9, 0x00, 0xc0, 0x01, 0x00,        // ecx = pages of 448 MiB
    0xb8, 0x5a, 0xa5, 0x5a, 0xa5,        // eax
    0x89, 0x07,                          // page: [edi] = eax
    0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,  // edi += 4096
    0x49, 0x75, 0xf5,                    // ecx--, to page unless 0
    0x66, 0xba, 0xf8, 0x03,              // dx = the serial port
    0xb0, 0x52, 0xee,                    // al = 'R'; out
    0xf4, 0xeb, 0xfd};                   // hlt, for ever

/// A machine in the midst of its save, which stands still there. The agent that asked is dead.
class HaltedSave {
 public:
  explicit HaltedSave(const Bed& bed, bool paused = false) : bed_(bed) {
    REQUIRE(bed.agent(
        [&](World& world) { return world.run(bed.of(&v1::Action::mutable_start_guest)); }));
    for (int i = 0; i < 3000 && status().console_offset() == 0; ++i)
      std::this_thread::sleep_for(10ms);
    REQUIRE(status().console_offset() != 0);
    if (paused) {
      REQUIRE(bed.agent(
          [&](World& world) { return world.run(bed.of(&v1::Action::mutable_pause_guest)); }));
    }
    find_thread();
    REQUIRE(::ptrace(PTRACE_SEIZE, thread_, 0, 0) == 0);
    REQUIRE(::ptrace(PTRACE_INTERRUPT, thread_, 0, 0) == 0);
    REQUIRE(::waitpid(thread_, nullptr, __WALL) == thread_);
    halted_ = true;
    const pid_t agent = bed.begin_agent([&](World& world) { return world.run(bed.saving()); });
    // From one system call to the next: a save that runs freely may be over before it is halted.
    while (!has_begun()) {
      REQUIRE(::ptrace(PTRACE_SYSCALL, thread_, 0, 0) == 0);
      REQUIRE(::waitpid(thread_, nullptr, __WALL) == thread_);
    }
    REQUIRE(is_saving());
    REQUIRE(::kill(agent, SIGKILL) == 0);
    CHECK_FALSE(Bed::succeeds(agent));
  }
  ~HaltedSave() {
    go_on();
    if (const auto process = bed_.vmm()) (void)process->end();  // before its disk goes
  }
  HaltedSave(const HaltedSave&) = delete;
  HaltedSave& operator=(const HaltedSave&) = delete;
  void go_on() {
    if (std::exchange(halted_, false)) (void)::ptrace(PTRACE_DETACH, thread_, 0, 0);
  }
  bool ends() const {
    for (int i = 0; i < 6000 && is_saving(); ++i) std::this_thread::sleep_for(10ms);
    return !is_saving();
  }
  Status status() const {
    core::v1::ControlRequest request;
    request.mutable_get_status();
    const auto process = bed_.vmm();
    REQUIRE(process);
    const auto reply = process->call(std::move(request), 5s);
    REQUIRE(reply.ok());
    return reply.value().status();
  }
  bool has_begun() const {
    struct stat st {};
    return ::stat(file().c_str(), &st) == 0 && st.st_size > 0;
  }
  bool is_saving() const { return status().doing().starts_with("is being saved"); }
  std::string file() const { return bed_.folder() + "/run/vmm/saved.state"; }

 private:
  /// Of the vmm process, the one that saves: the others still answer.
  void find_thread() {
    const std::filesystem::path tasks = "/proc/" + std::to_string(bed_.vmm()->pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks))
      if (read_file(task.path() / "comm").value().starts_with("vm-verbs"))
        thread_ = std::stoi(task.path().filename());
    REQUIRE(thread_ != 0);
  }

  const Bed& bed_;
  pid_t thread_ = 0;
  bool halted_ = false;
};

ino_t inode_of(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? st.st_ino : 0;
}

/// Of a size that a test can fill.
class SmallDisk {
 public:
  explicit SmallDisk(std::string at) : at_(std::move(at)) {
    REQUIRE(::mount("none", at_.c_str(), "tmpfs", 0, "size=640m") == 0);
  }
  ~SmallDisk() { (void)::umount2(at_.c_str(), MNT_DETACH); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  void fill() const {
    std::ofstream file(filler(), std::ios::binary);
    const std::string much(1 << 20, 'x');
    while (file.write(much.data(), static_cast<std::streamsize>(much.size())).flush()) continue;
  }
  void empty() const { CHECK(remove_file(filler()).ok()); }

 private:
  std::string filler() const { return at_ + "/filler"; }
  const std::string at_;
};

bool root_and_kvm_here() {
  if (::geteuid() == 0) return kvm_here();
  WARN("skipped: needs root");
  return false;
}

}  // namespace

TEST_CASE("a save whose agent was killed is taken over by the next attempt",
          "[agent][core][kvm][root]") {
  if (!root_and_kvm_here()) return;
  Bed bed(kLargeGuest, kLargeMib);
  HaltedSave save(bed);
  const auto file = inode_of(save.file());
  REQUIRE(file != 0);
  SECTION("while it goes on") {
    const pid_t agent = bed.begin_agent([&](World& world) { return world.run(bed.saving()); });
    std::this_thread::sleep_for(500ms);
    CHECK(::waitpid(agent, nullptr, WNOHANG) == 0);
    CHECK(inode_of(save.file()) == file);
    save.go_on();
    CHECK(Bed::succeeds(agent));
  }
  SECTION("when it is over") {
    save.go_on();
    REQUIRE(save.ends());
    CHECK(bed.agent([&](World& world) { return world.run(bed.saving()); }));
  }
  CHECK_FALSE(bed.vmm());
  CHECK(bed.offers_a_saved_state());
  CHECK(inode_of(bed.folder() + "/state") == file);
  bed.take_up();
  CHECK(bed.left_behind() == Status::STATE_RUNNING);
}

TEST_CASE("a save that fails after its agent was killed leaves the machine as it was before",
          "[agent][core][kvm][root]") {
  if (!root_and_kvm_here()) return;
  const bool paused = GENERATE(false, true);
  CAPTURE(paused);
  Bed bed(kLargeGuest, kLargeMib);
  // Of the state alone: what the agent notes has room.
  const SmallDisk disk(bed.folder() + "/run");
  HaltedSave save(bed, paused);
  disk.fill();
  save.go_on();
  CHECK_FALSE(bed.agent([&](World& world) { return world.run(bed.saving()); }));
  CHECK(save.status().state() == (paused ? Status::STATE_PAUSED : Status::STATE_RUNNING));
  CHECK_FALSE(std::filesystem::exists(save.file()));
  disk.empty();
}

TEST_CASE("a machine whose save nobody asks for again runs on when the save is over",
          "[agent][core][kvm][root]") {
  if (!root_and_kvm_here()) return;
  Bed bed(kLargeGuest, kLargeMib);
  HaltedSave save(bed);
  CHECK(bed.agent([&](World& world) {
    const auto looks = [&] { return world.driver->list().value().front().state; };
    bool fine = looks() == GuestState::Paused;
    world.clock.ahead += 10min;
    return fine && looks() == GuestState::Paused;  // it is still made
  }));
  CHECK(std::filesystem::exists(save.file()));
  save.go_on();
  REQUIRE(save.ends());
  SECTION("by itself") {
    CHECK(bed.agent([&](World& world) {
      const auto looks = [&] { return world.driver->list().value().front().state; };
      bool fine = looks() == GuestState::Paused;  // the server may yet ask
      world.clock.ahead += 10min;
      return fine && looks() == GuestState::Running;
    }));
    CHECK(save.status().state() == Status::STATE_RUNNING);
  }
  SECTION("when a person says so") {
    CHECK(bed.agent(
        [&](World& world) { return world.run(bed.of(&v1::Action::mutable_resume_guest)); }));
    CHECK(save.status().state() == Status::STATE_RUNNING);
  }
  SECTION("not when a person wants it paused") {
    CHECK(bed.agent([&](World& world) {
      if (!world.run(bed.of(&v1::Action::mutable_pause_guest))) return false;
      world.clock.ahead += 10min;
      return world.driver->list().value().front().state == GuestState::Paused;
    }));
    CHECK(save.status().state() == Status::STATE_PAUSED);
  }
  // Of memory that has gone on since, or that a person has seen given up.
  CHECK_FALSE(std::filesystem::exists(save.file()));
  CHECK(bed.agent([&](World& world) { return world.run(bed.saving()); }));
  CHECK(bed.offers_a_saved_state());
}

}  // namespace reeve::agent
