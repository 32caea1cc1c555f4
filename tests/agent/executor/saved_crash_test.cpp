// The agent is killed at every point of a restore, on the real core: the machine that ran meanwhile
// and powered off is not brought back from the same saved state.
//
// Agents are child processes; this process makes none of the threads that a fork would lose.
#include <csignal>
#include <fstream>
#include <functional>
#include <thread>

#include <catch2/catch.hpp>
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

/// What an agent has of its host.
struct World {
  World(const std::string& data, std::function<void(std::string_view)> at) {
    store = DirStore::open({.data = data, .import_dirs = {"/"}, .at = std::move(at)}).value();
    core_driver::CoreOptions options;
    options.records = data + "/core";
    options.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
    options.boot_id = "boot";
    options.usable = true;
    driver = core_driver::CoreDriver::create(std::move(options), RealClock::instance()).value();
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
  std::unique_ptr<DirStore> store;
  std::unique_ptr<Driver> driver;
  StepWorld steps{};
};

class Bed {
 public:
  Bed() {
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
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      World world(data(), at);
      const bool done = work(world);
      ::_exit(done ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  void start_and_save() const {
    REQUIRE(agent([&](World& world) {
      v1::Action start, save;
      start.mutable_start_guest()->set_uid(spec_.uid());
      start.mutable_start_guest()->set_hypervisor("core");
      save.mutable_save_guest()->set_uid(spec_.uid());
      save.mutable_save_guest()->set_hypervisor("core");
      return world.run(start) && world.run(save);
    }));
  }
  v1::Action restoring() const {
    v1::Action action;
    action.mutable_restore_guest()->set_uid(spec_.uid());
    action.mutable_restore_guest()->set_hypervisor("core");
    return action;
  }
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

 private:
  test::TempDir dir_;
  const core::test::PayloadKernel kernel_{core::test::kConsoleGuest};
  const v1::GuestSpec spec_ = [] {
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

}  // namespace reeve::agent
