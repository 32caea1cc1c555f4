// hypervisor_core/vm/vm.h - one virtual machine and its life.
//
//                 start()            pause()
//     Created ------------> Running <--------> Paused        guarantees
//        |                    |  ^   resume()    |           Created  nothing of the guest ran
//        |                    |  | reset         |           Running  vCPUs and device workers run
//        |  stop()            v  |               |           Paused   none of them runs; state can
//        be read
//        +----------------> Ended <--------------+           Ended    for ever; exit() says why
//
// Running becomes WaitingForSpace while a request waits for the host's disk: the vCPUs are halted,
// the device workers go on and try again. It becomes Running by itself, or by resume(), which tries
// at once; pause(), reset() and stop() do what they do to Running. Nothing of the guest's is lost.
//
// A reset by the guest or from outside keeps Running and Paused. All verbs may be called from any
// thread but the machine's own, one takes effect at a time, and all are idempotent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/bus/machine_events.h"
#include "hypervisor_core/sandbox/role.h"
#include "hypervisor_core/vm/board.h"
#include "hypervisor_core/vm/console_ring.h"
#include "hypervisor_core/vm/lazy_memory.h"
#include "hypervisor_core/vm/saved_stream.h"
#include "hypervisor_core/vm/vcpu_thread.h"
#include "reeve/core/v1/control.pb.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core {

struct VmOptions {
  /// Told after every change of state, on some thread of the machine; must not call verbs.
  std::function<void()> on_change{};
  /// Runs first on every thread of the machine, when start() or resume() is called for the first
  /// time. An error there fails that call or ends the machine.
  PrepareThread prepare_thread{};
  /// Opens a network card's backend; empty: from its configuration.
  OpenNetwork open_network{};
  /// The memory of a machine that was restored lazily cannot be read: it has ended with this
  /// report, but threads that wait for that memory never go on. The process should end here; if it
  /// does not, they go on when the Vm is destroyed: no device gets at memory any more
  /// (Content::Lost), the vCPUs are parked. Some thread of the machine.
  std::function<void(const v1::ExitReport&)> on_memory_lost{};
};

class Vm final : private MachineEvents {
 public:
  enum class State : std::uint8_t { Created, Running, Paused, WaitingForSpace, Ended };

  /// Builds the machine and loads the kernel. The accelerator outlives it.
  /// InvalidArgument/MACHINE_CONFIG, errors of the files, the kernel (boot/loader.h) and the
  /// accelerator.
  static Result<std::unique_ptr<Vm>> create(v1::MachineConfig config,
                                            accel::Accelerator& accelerator, VmOptions options = {},
                                            const Clock& clock = RealClock::instance());
  /// A machine from what save() wrote; Paused. Errors of create() and of vm/snapshot.h. `adjust`
  /// may change the configuration in the stream before it is used: paths on this host.
  static Result<std::unique_ptr<Vm>> restore(
      StateSource& source, accel::Accelerator& accelerator, VmOptions options = {},
      const std::function<void(v1::MachineConfig&)>& adjust = {},
      const Clock& clock = RealClock::instance());
  /// The same from a file, but the memory is read while the machine runs (vm/lazy_memory.h).
  /// Besides InvalidArgument/STATE_NO_INDEX and Unimplemented/LAZY_UNAVAILABLE: use restore() then.
  static Result<std::unique_ptr<Vm>> restore_lazily(
      Fd file, accel::Accelerator& accelerator, VmOptions options = {},
      const std::function<void(v1::MachineConfig&)>& adjust = {},
      const Clock& clock = RealClock::instance());
  ~Vm() override;
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  /// FailedPrecondition/VM_ENDED, as with all verbs below but stop().
  Status start();
  Status pause();
  Status resume();
  Status reset();
  /// What becomes of the machine when the guest powers off next.
  enum class AfterPowerOff : std::uint8_t { End, Restart };
  /// The guest sees its power button pressed. The choice holds until the next press or start.
  Status press_power_button(AfterPowerOff after = AfterPowerOff::End);
  /// Flushes the disks and writes the machine to `sink`; it must be Paused and stays so. Waits
  /// until memory is there. FailedPrecondition/VM_NOT_PAUSED, errors of the disks and the sink.
  Status save(StateSink& sink);
  /// Ends the machine at once.
  void stop();

  State state() const { return state_.load(std::memory_order_acquire); }
  std::uint32_t resets() const { return resets_; }
  /// Rises when status() has something new that is neither a state nor a reset: the guest's kernel
  /// has crashed, or a network card has lost its other side.
  std::uint32_t alarms() const { return alarms_; }
  /// Set once Ended.
  std::optional<v1::ExitReport> exit() const;
  v1::MachineStatus status() const;
  /// True when the machine has ended within `timeout`.
  bool wait_until_ended(std::chrono::milliseconds timeout) const;

  ConsoleRing& console() { return console_; }
  /// Types at the console; returns how many bytes were taken.
  std::size_t type(std::span<const std::byte> input) { return board_->type(input); }
  Board& board() { return *board_; }
  const v1::MachineConfig& config() const { return config_; }

 private:
  /// Something a vCPU thread met, to be acted on by the event thread.
  struct Occurrence {
    std::optional<MachineEvent> event{};
    std::uint32_t value = 0;
    std::uint32_t vcpu = 0;
    accel::Exit exit{};
    std::function<void()> task{};  ///< set: this and nothing else
  };

  Vm(v1::MachineConfig config, accel::Accelerator& accelerator, VmOptions options,
     const Clock& clock);
  enum class Start : std::uint8_t { Boot, Restored };
  Status build(Start start, Cpuid cpuid = {});
  Status boot() REEVE_REQUIRES(verbs_);
  void raise(MachineEvent event, std::uint32_t value) override;
  void vcpu_stopped(std::uint32_t vcpu, const accel::Exit& exit);
  void post(Occurrence occurrence);
  void serve_events();
  void act_on(const Occurrence& occurrence) REEVE_REQUIRES(verbs_);
  void act_on_event(MachineEvent event, std::uint32_t value) REEVE_REQUIRES(verbs_);
  void halt() REEVE_REQUIRES(verbs_);
  void park_vcpus() REEVE_REQUIRES(verbs_);
  /// WaitingForSpace or Running, as the disks have it.
  void follow_disks() REEVE_REQUIRES(verbs_);
  bool runs() const { return state() == State::Running || state() == State::WaitingForSpace; }
  Status go() REEVE_REQUIRES(verbs_);
  Status prepare_threads() REEVE_REQUIRES(verbs_);
  Status on_event_thread(const std::function<Status()>& work);
  Status restart() REEVE_REQUIRES(verbs_);
  void start_again() REEVE_REQUIRES(verbs_);
  void end(v1::ExitReport report) REEVE_REQUIRES(verbs_);
  void set_boot_format(std::string_view format);
  Status require_alive() const;
  Status begin_lazily(Fd file, SavedIndex index, const std::string& machine) REEVE_REQUIRES(verbs_);
  void memory_lost(const Error& error);
  std::string describe_registers(std::uint32_t vcpu);
  void changed() const {
    if (options_.on_change) options_.on_change();
  }

  const v1::MachineConfig config_;
  accel::Accelerator& accelerator_;
  const VmOptions options_;
  const Clock& clock_;
  ConsoleRing console_;

  Mutex verbs_;  ///< one verb or event at a time
  std::unique_ptr<Board> board_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
  std::vector<accel::CpuState> power_on_;  ///< of each vCPU, for reset
  accel::InterruptControllerState power_on_interrupts_;
  std::unique_ptr<LazyMemory> lazy_;  ///< null when memory was there from the start

  std::atomic<State> state_{State::Created};
  std::atomic<std::uint32_t> resets_{0};
  std::atomic<std::uint32_t> alarms_{0};
  std::atomic<bool> guest_panicked_{false};
  std::atomic<AfterPowerOff> after_power_off_{AfterPowerOff::End};

  mutable Mutex exit_mutex_;
  mutable CondVar ended_;
  std::optional<v1::ExitReport> exit_ REEVE_GUARDED_BY(exit_mutex_);
  std::string_view boot_format_ REEVE_GUARDED_BY(exit_mutex_);  ///< a reset may change it

  Mutex events_mutex_;
  CondVar events_changed_;
  std::deque<Occurrence> events_ REEVE_GUARDED_BY(events_mutex_);
  bool quitting_ REEVE_GUARDED_BY(events_mutex_) = false;
  bool prepared_ = false;  ///< the threads that exist before the machine runs
  std::thread event_thread_;
};

}  // namespace reeve::core
