#include "hypervisor_core/vm/vm.h"

#include <algorithm>
#include <chrono>
#include <future>

#include <pthread.h>

#include "hypervisor_core/cpu/boot_state.h"
#include "hypervisor_core/vm/config.h"
#include "hypervisor_core/vm/register_dump.h"
#include "hypervisor_core/vm/snapshot.h"

namespace reeve::core {
namespace {

constexpr std::uint64_t kResetVector = 0xfff0, kResetCode = 0xffff0000;

v1::ExitReport report_of(v1::ExitReport::Kind kind, std::string message) {
  v1::ExitReport report;
  report.set_kind(kind);
  report.set_message(std::move(message));
  return report;
}

v1::ExitReport::Kind kind_of(accel::ExitKind kind) {
  switch (kind) {
    case accel::ExitKind::Shutdown: return v1::ExitReport::KIND_TRIPLE_FAULT;
    case accel::ExitKind::EmulationFailure: return v1::ExitReport::KIND_EMULATION_FAILURE;
    default: return v1::ExitReport::KIND_DEVICE_ERROR;
  }
}

}  // namespace

Vm::Vm(v1::MachineConfig config, accel::Accelerator& accelerator, VmOptions options,
       const Clock& clock)
    : config_(std::move(config)),
      accelerator_(accelerator),
      options_(std::move(options)),
      clock_(clock) {}

Result<std::unique_ptr<Vm>> Vm::create(v1::MachineConfig config, accel::Accelerator& accelerator,
                                       VmOptions options, const Clock& clock) {
  TRY(check_config(config));
  std::unique_ptr<Vm> vm(new Vm(std::move(config), accelerator, std::move(options), clock));
  TRY(vm->build(Start::Boot));
  return vm;
}

Result<std::unique_ptr<Vm>> Vm::restore(StateSource& source, accel::Accelerator& accelerator,
                                        VmOptions options,
                                        const std::function<void(v1::MachineConfig&)>& adjust,
                                        const Clock& clock) {
  RecordReader reader(source);
  auto header = TRY(read_saved_header(reader));
  auto cpuid = TRY(saved_cpuid(header));
  auto& config = *header.mutable_config();
  if (adjust) adjust(config);
  TRY(check_config(config));
  std::unique_ptr<Vm> vm(new Vm(std::move(config), accelerator, std::move(options), clock));
  TRY(vm->build(Start::Restored, std::move(cpuid)));
  Lock lock(vm->verbs_);
  TRY(load_machine(reader, *vm->board_, vm->vcpus_));
  vm->set_boot_format("saved state");
  vm->state_ = State::Paused;
  return vm;
}

Result<std::unique_ptr<Vm>> Vm::restore_lazily(
    Fd file, accel::Accelerator& accelerator, VmOptions options,
    const std::function<void(v1::MachineConfig&)>& adjust, const Clock& clock) {
  auto index = TRY(read_index(file.get()));
  FdSource source(file.get());
  RecordReader reader(source);
  auto header = TRY(read_saved_header(reader));
  const auto machine = TRY(read_record_at(file.get(), index.machine_offset, RecordType::Machine));
  auto cpuid = TRY(saved_cpuid(header));
  auto& config = *header.mutable_config();
  if (adjust) adjust(config);
  TRY(check_config(config));
  std::unique_ptr<Vm> vm(new Vm(std::move(config), accelerator, std::move(options), clock));
  TRY(vm->build(Start::Restored, std::move(cpuid)));
  Lock lock(vm->verbs_);
  TRY(vm->begin_lazily(std::move(file), std::move(index), machine));
  vm->set_boot_format("saved state");
  vm->state_ = State::Paused;
  return vm;
}

Status Vm::begin_lazily(Fd file, SavedIndex index, const std::string& machine) {
  TRY(check_index(index, board_->memory()));
  const std::uint64_t pages = pages_of(index);
  lazy_ = TRY(LazyMemory::start(board_->memory(), std::move(file), std::move(index.chunks),
                                [this](const Error& error) { memory_lost(error); }));
  return apply_machine(machine, pages, *board_, vcpus_);
}

/// On the filling thread, without verbs_: a verb may be waiting for a vCPU that waits for memory.
void Vm::memory_lost(const Error& error) {
  auto report = report_of(v1::ExitReport::KIND_MEMORY_LOST,
                          std::string(error.reason()) + ": " + error.message());
  for (auto& vcpu : vcpus_) vcpu->request_park();
  {
    Lock lock(exit_mutex_);
    exit_ = report;
    state_ = State::Ended;
  }
  ended_.notify_all();
  changed();
  if (options_.on_memory_lost) options_.on_memory_lost(report);
}

Vm::~Vm() {
  stop();
  lazy_.reset();  // nobody may wait for memory that does not come any more
  {
    Lock lock(events_mutex_);
    quitting_ = true;
  }
  events_changed_.notify_all();
  if (event_thread_.joinable()) event_thread_.join();
  vcpus_.clear();
}

Status Vm::build(Start start, Cpuid cpuid) {
  Lock lock(verbs_);
  board_ = TRY(Board::create(config_,
                             {.accelerator = accelerator_,
                              .events = *this,
                              .console = console_,
                              .clock = clock_,
                              .prepare_thread = options_.prepare_thread,
                              .open_network = options_.open_network},
                             std::move(cpuid)));
  for (std::uint32_t id = 0; id < config_.vcpus(); ++id) {
    auto vcpu = TRY(board_->make_vcpu(id));
    power_on_.push_back(TRY(vcpu->state()));
    vcpus_.push_back(std::make_unique<VcpuThread>(
        std::move(vcpu), *board_,
        VcpuThread::Hooks{.on_exit = [this](std::uint32_t at,
                                            const accel::Exit& exit) { vcpu_stopped(at, exit); },
                          .prepare = options_.prepare_thread}));
  }
  power_on_interrupts_ = TRY(board_->partition().interrupt_state());
  if (start == Start::Boot) TRY(boot());
  return {};
}

Status Vm::boot() {
  const auto entry = TRY(board_->load_kernel());
  set_boot_format(boot::image_format_name(entry.format));
  return cpu::enter_image(vcpus_[0]->vcpu(), board_->memory(), entry);
}

void Vm::set_boot_format(std::string_view format) {
  Lock lock(exit_mutex_);
  boot_format_ = format;
}

Status Vm::require_alive() const {
  if (state() != State::Ended) return {};
  return Error{Code::FailedPrecondition, "VM_ENDED", "the machine has ended"};
}

Status Vm::start() {
  {
    Lock lock(verbs_);
    TRY(require_alive());
    if (state() != State::Created) return {};
    TRY(go());
  }
  changed();
  return {};
}

Status Vm::pause() {
  {
    Lock lock(verbs_);
    TRY(require_alive());
    if (!runs()) return {};
    halt();
    state_ = State::Paused;
  }
  changed();
  return {};
}

Status Vm::resume() {
  {
    Lock lock(verbs_);
    TRY(require_alive());
    if (state() == State::WaitingForSpace)
      halt();  // what waits is tried again at once
    else if (state() != State::Paused)
      return {};
    for (auto& vcpu : vcpus_) vcpu->vcpu().note_pause();
    TRY(go());
  }
  changed();
  return {};
}

Status Vm::reset() {
  {
    Lock lock(verbs_);
    TRY(require_alive());
    if (state() == State::Created) return {};
    const bool was_running = runs();
    halt();
    TRY(restart());
    if (was_running) TRY(go());
  }
  changed();
  return {};
}

Status Vm::save(StateSink& sink) {
  Lock lock(verbs_);
  if (state() != State::Paused)
    return Error{Code::FailedPrecondition, "VM_NOT_PAUSED",
                 "the machine must be paused to be saved"};
  if (lazy_) TRY(lazy_->wait_until_filled());
  // The guest takes what it wrote for written: the disks must not lag behind its saved memory.
  TRY(board_->peripherals().flush_disks());
  return save_machine(sink, *board_, vcpus_, config_, accelerator_.name());
}

Status Vm::press_power_button(AfterPowerOff after) {
  TRY(require_alive());
  after_power_off_ = after;
  board_->acpi().press_power_button();
  return {};
}

void Vm::stop() {
  Lock lock(verbs_);
  if (state() == State::Ended || board_ == nullptr) return;
  end(report_of(v1::ExitReport::KIND_KILLED, "stopped from outside"));
}

void Vm::park_vcpus() {
  for (auto& vcpu : vcpus_) vcpu->request_park();
  for (auto& vcpu : vcpus_) vcpu->wait_parked();
}

void Vm::follow_disks() {
  const bool waits = !board_->peripherals().waiting_disks().empty();
  if (waits && state() == State::Running) {
    park_vcpus();
    state_ = State::WaitingForSpace;
  } else if (!waits && state() == State::WaitingForSpace) {
    state_ = State::Running;
    for (auto& vcpu : vcpus_) vcpu->run();
  }
}

void Vm::halt() {
  park_vcpus();
  board_->peripherals().halt();
}

/// Those that do not look after themselves, as vCPUs and workers do. Threads are made late: each
/// one costs a jail that closes before a signal and an answer, several times.
Status Vm::prepare_threads() {
  if (!event_thread_.joinable())
    event_thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "vm-events");
      serve_events();
    });
  if (prepared_ || !options_.prepare_thread) return {};
  TRY(board_->peripherals().prepare_control());
  TRY(on_event_thread([this] { return options_.prepare_thread(ThreadRole::Events); }));
  if (lazy_) TRY(lazy_->on_thread([this] { return options_.prepare_thread(ThreadRole::Fill); }));
  prepared_ = true;
  return {};
}

Status Vm::go() {
  TRY(prepare_threads());
  TRY(board_->peripherals().go());
  state_ = State::Running;
  for (auto& vcpu : vcpus_) vcpu->run();
  return {};
}

Status Vm::restart() {
  TRY(board_->reset());
  TRY(board_->partition().set_interrupt_state(power_on_interrupts_));
  for (std::size_t i = 0; i < vcpus_.size(); ++i) TRY(vcpus_[i]->vcpu().set_state(power_on_[i]));
  TRY(boot());
  guest_panicked_ = false;
  after_power_off_ = AfterPowerOff::End;
  ++resets_;
  return {};
}

void Vm::end(v1::ExitReport report) {
  halt();
  {
    Lock lock(exit_mutex_);
    exit_ = std::move(report);
    state_ = State::Ended;
  }
  ended_.notify_all();
  changed();
}

void Vm::raise(MachineEvent event, std::uint32_t value) {
  // The guest must not execute much after asking for its end. A panic report lets it go on.
  if (event == MachineEvent::Reset || event == MachineEvent::PowerOff ||
      event == MachineEvent::DebugExit)
    for (auto& vcpu : vcpus_) vcpu->request_park();
  post({.event = event, .value = value});
}

void Vm::vcpu_stopped(std::uint32_t vcpu, const accel::Exit& exit) {
  post({.vcpu = vcpu, .exit = exit});
}

/// None is dropped: whoever raised it may be parked until it has been acted on. A guest can fill no
/// more than a place for each event and for each vCPU's exit.
void Vm::post(Occurrence occurrence) {
  {
    Lock lock(events_mutex_);
    const auto waits = [&](const Occurrence& other) {
      return occurrence.event && other.event == occurrence.event;
    };
    if (std::any_of(events_.begin(), events_.end(), waits)) return;
    events_.push_back(std::move(occurrence));
  }
  events_changed_.notify_all();
}

/// For work that does not take verbs_, which the caller has.
Status Vm::on_event_thread(const std::function<Status()>& work) {
  std::promise<Status> done;
  post({.task = [&] { done.set_value(work()); }});
  return done.get_future().get();
}

void Vm::serve_events() {
  for (;;) {
    Occurrence next;
    {
      Lock lock(events_mutex_);
      while (events_.empty() && !quitting_) {
        const auto alarm = board_->rtc().until_alarm();
        if (!alarm) {
          events_changed_.wait(lock);
        } else {
          events_changed_.wait_for(lock, *alarm);
          board_->rtc().check_alarm();
        }
      }
      if (quitting_) return;
      next = std::move(events_.front());
      events_.pop_front();
    }
    if (next.task) {
      next.task();
      continue;
    }
    {
      Lock lock(verbs_);
      if (state() != State::Ended) act_on(next);
      if (state() != State::Ended) follow_disks();  // its event may not have found room
    }
    changed();
  }
}

void Vm::act_on(const Occurrence& occurrence) {
  if (occurrence.event) return act_on_event(*occurrence.event, occurrence.value);
  halt();
  const auto& exit = occurrence.exit;
  auto report = report_of(kind_of(exit.kind), std::string(accel::exit_kind_name(exit.kind)) +
                                                  " on vCPU " + std::to_string(occurrence.vcpu));
  report.set_vcpu(occurrence.vcpu);
  report.set_code(exit.detail);
  report.set_instruction(exit.instruction.data(), exit.instruction_length);
  report.set_registers(describe_registers(occurrence.vcpu));
  end(std::move(report));
}

void Vm::act_on_event(MachineEvent event, std::uint32_t value) {
  switch (event) {
    case MachineEvent::Panicked:
    case MachineEvent::CrashLoaded:
      if (!guest_panicked_.exchange(true)) ++alarms_;
      return;
    case MachineEvent::NetworkLost: ++alarms_; return;  // once for each card
    case MachineEvent::AlarmChanged: return;            // serve_events() looks before it waits
    case MachineEvent::DiskWaiting: return;             // follow_disks() comes after every event
    case MachineEvent::PowerOff:
      if (after_power_off_ == AfterPowerOff::Restart) return start_again();
      return end(report_of(v1::ExitReport::KIND_GUEST_POWER_OFF, "the guest powered off"));
    case MachineEvent::DebugExit: {
      auto report = report_of(v1::ExitReport::KIND_DEBUG_EXIT, "debug exit by the guest");
      report.set_code(value);
      return end(std::move(report));
    }
    case MachineEvent::Reset: break;
  }
  if (config_.on_reset() == v1::ON_RESET_STOP)
    return end(report_of(v1::ExitReport::KIND_GUEST_RESET, "the guest reset"));
  start_again();
}

void Vm::start_again() {
  const bool was_running = runs();
  halt();
  auto restarted = restart();
  if (restarted.ok() && was_running) restarted = go();
  if (!restarted.ok())
    return end(report_of(v1::ExitReport::KIND_DEVICE_ERROR,
                         "reset failed: " + restarted.error().message()));
}

std::string Vm::describe_registers(std::uint32_t vcpu) {
  const auto general = vcpus_[vcpu]->vcpu().general_registers();
  const auto system = vcpus_[vcpu]->vcpu().system_registers();
  if (!general.ok() || !system.ok()) return "";
  // On AMD, KVM resets the processor before it says that it triple-faulted. Nothing of ours ever
  // runs at the reset vector.
  if (general.value().rip == kResetVector && system.value().cs.base == kResetCode)
    return "registers lost: this KVM resets a processor before it reports its triple fault\n";
  return register_dump(general.value(), system.value());
}

std::optional<v1::ExitReport> Vm::exit() const {
  Lock lock(exit_mutex_);
  return exit_;
}

bool Vm::wait_until_ended(std::chrono::milliseconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  Lock lock(exit_mutex_);
  while (!exit_) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= left.zero()) return false;
    ended_.wait_for(lock, left);
  }
  return true;
}

v1::MachineStatus Vm::status() const {
  v1::MachineStatus status;
  switch (state()) {
    case State::Created: status.set_state(v1::MachineStatus::STATE_CREATED); break;
    case State::Running: status.set_state(v1::MachineStatus::STATE_RUNNING); break;
    case State::Paused: status.set_state(v1::MachineStatus::STATE_PAUSED); break;
    case State::WaitingForSpace:
      status.set_state(v1::MachineStatus::STATE_WAITING_FOR_SPACE);
      status.set_waiting_for(board_->peripherals().waiting_disks());
      break;
    case State::Ended: status.set_state(v1::MachineStatus::STATE_ENDED); break;
  }
  if (auto report = exit()) *status.mutable_exit() = *report;
  status.set_resets(resets_);
  status.set_guest_panicked(guest_panicked_);
  status.set_console_offset(console_.end_offset());
  std::uint64_t exits = 0, cpu_time = 0;
  for (const auto& vcpu : vcpus_) {
    exits += vcpu->vcpu().counters().total;
    cpu_time += vcpu->cpu_time_us();
  }
  status.set_exits(exits);
  status.set_cpu_time_us(cpu_time);
  board_->peripherals().describe(status);
  {
    Lock lock(exit_mutex_);
    status.set_boot_format(std::string(boot_format_));
  }
  status.set_lost_network(board_->peripherals().lost_network());
  if (lazy_) status.set_memory_to_read_bytes(lazy_->bytes_left());
  return status;
}

}  // namespace reeve::core
