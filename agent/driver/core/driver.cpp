#include "agent/driver/core/driver.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <sstream>

#include <unistd.h>

#include "agent/driver/core/guest_network.h"
#include "agent/driver/core/seen.h"
#include "agent/driver/heard.h"
#include "base/file.h"
#include "base/log.h"
#include "hypervisor_core/sandbox/user.h"

namespace reeve::agent::core_driver {
namespace {

namespace control = core::control;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using core::v1::ControlRequest;
using Record = core::v1::GuestRecord;

constexpr std::chrono::milliseconds kLookAgain = 200ms;

Error not_found(std::string_view uid) {
  return {Code::NotFound, "GUEST_NOT_FOUND", "no guest " + std::string(uid.substr(0, 64))};
}

std::int64_t rss_mib(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/statm");
  if (!text.ok()) return 0;
  std::istringstream words(text.value());
  std::int64_t size = 0, resident = 0;
  words >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE) >> 20;
}

/// All that is known of a guest whose processor could not go on; the machine's state has room for a
/// line.
void log_processor(const core::v1::GuestRecord& record) {
  constexpr std::size_t kMost = 4096;
  const auto report = report_of(record);
  if (!report || report->registers().empty()) return;
  log::warning("the processor of a machine could not go on",
               {{"guest", record.uid()},
                {"vcpu", std::to_string(report->vcpu())},
                {"why", in_short(*report)},
                {"registers", report->registers().substr(0, kMost)}});
}

/// Leaves the console's log, and the pid file, whose lock keeps a second process out.
Status clean(const std::string& folder) {
  TRY(make_dirs(folder));
  for (const char* name : {control::kExitFile, control::kRestoreFile, control::kControlSocket,
                           control::kConsoleSocket, control::kConsoleTail, kSavedFile})
    TRY(remove_file(fs::path(folder) / name));
  return {};
}

}  // namespace

CoreDriver::CoreDriver(CoreOptions options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      records_(options_.records),
      services_(clock_),
      user_network_(has_passt()),
      cgroups_(Cgroups::find(options_.cgroup_root)) {}

CoreDriver::~CoreDriver() = default;

Result<std::unique_ptr<CoreDriver>> CoreDriver::create(CoreOptions options, const Clock& clock) {
  std::unique_ptr<CoreDriver> driver(new CoreDriver(std::move(options), clock));
  driver->watcher_ = std::make_unique<Watcher>(Watcher::Listener{
      .changed = [self = driver.get()](const auto& uid) { self->tell(uid); },
      .ended = [self = driver.get()](const auto& uid,
                                     const auto& process) { self->ended(uid, process); }});
  auto records = TRY(driver->records_.load());
  {
    Lock lock(driver->mutex_);
    for (const auto& record : records) driver->users_.insert(record.user());
  }
  for (auto& record : records) driver->give_user(record);  // of before there were any
  for (const auto& record : records)
    if (record.saving() != Record::SAVING_UNSPECIFIED) driver->leave(record.uid());
  Lock lock(driver->mutex_);
  for (auto& record : records) {
    Guest guest{.record = std::move(record)};
    const std::string uid = guest.record.uid();
    if (auto process = VmmProcess::find(vmm_folder(guest.record))) {
      guest.process = std::make_shared<const VmmProcess>(std::move(*process));
      driver->watcher_->add(uid, guest.process);
      log::info("machine found running", {{"guest", uid}});
    }
    driver->guests_.emplace(uid, std::move(guest));
  }
  return driver;
}

DriverFacts CoreDriver::facts() {
  DriverFacts facts;
  facts.kind = "core";
  facts.version = options_.version;
  facts.available = options_.usable;
  if (!options_.usable) facts.description = options_.description;
  facts.capabilities = {"bridge-network", "cloud-init",  "console",  "define",    "direct-kernel",
                        "events",         "guest-agent", "kvm",      "pause",     "reboot",
                        "reset",          "saved-state", "shutdown", "statistics"};
  if (cgroups_.layout() != Cgroups::Layout::None)
    facts.capabilities.emplace_back("resource-limits");
  if (user_network_) facts.capabilities.emplace_back("user-network");
  std::sort(facts.capabilities.begin(), facts.capabilities.end());
  Lock lock(mutex_);
  if (!without_limits_.empty())
    facts.warnings.push_back("machines run without limits of CPU and memory: " + without_limits_);
  return facts;
}

Result<CoreDriver::Found> CoreDriver::find(std::string_view uid) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it == guests_.end()) return not_found(uid);
  Guest& guest = it->second;
  // Started by an agent that died before the process had said who it is.
  if (!guest.process && guest.record.start_time_us() != 0)
    if (auto process = VmmProcess::find(vmm_folder(guest.record))) {
      guest.process = std::make_shared<const VmmProcess>(std::move(*process));
      watcher_->add(guest.record.uid(), guest.process);
    }
  return guest;
}

std::chrono::milliseconds CoreDriver::patience_with(const std::string& uid) {
  Lock lock(mutex_);
  return silent_.contains(uid) ? kLookAgain : kLook;
}

void CoreDriver::note_look(const std::string& uid, bool silent) {
  Lock lock(mutex_);
  if (silent)
    silent_.insert(uid);
  else
    silent_.erase(uid);
}

Result<GuestSeen> CoreDriver::see(const Guest& guest, std::chrono::milliseconds patience) const {
  if (!guest.process) return seen_off(guest.record, options_.boot_id);
  if (!guest.process->is_alive()) {
    (void)guest.process->wait(0ms);  // for its warden, which may have something to say
    return seen_off(guest.record, options_.boot_id);
  }
  ControlRequest request;
  request.mutable_get_status();
  const auto reply = guest.process->call(std::move(request), patience);
  const bool ending = reply.ok()
                          ? reply.value().status().state() == core::v1::MachineStatus::STATE_ENDED
                          : reply.error().reason() == "GUEST_STATE";
  if (ending && guest.process->wait(patience)) return seen_off(guest.record, options_.boot_id);
  if (!reply.ok()) return reply.error();
  return seen_running(guest.record, reply.value().status());
}

Status CoreDriver::keep(const Guest& guest) {
  TRY(records_.write(guest.record));
  {
    Lock lock(mutex_);
    guests_[guest.record.uid()] = guest;
  }
  return {};
}

void CoreDriver::give_user(core::v1::GuestRecord& record) {
  if (record.user() != 0) return;
  Lock lock(mutex_);
  auto user = core::sandbox::user_of(record.uid());
  while (!users_.insert(user).second) user = core::sandbox::user_after(user);
  record.set_user(user);
}

Result<GuestSeen> CoreDriver::get(std::string_view uid) {
  const Guest guest = TRY(find(uid));
  return with_facts(TRY(see(guest)), services_.rota());
}

Result<std::vector<GuestSeen>> CoreDriver::list() {
  end_left_saves();
  std::vector<std::string> uids;
  {
    Lock lock(mutex_);
    for (const auto& [uid, guest] : guests_) uids.push_back(uid);
  }
  std::vector<GuestSeen> all;
  for (const auto& uid : uids) {
    auto found = find(uid);
    if (!found.ok()) continue;  // removed meanwhile
    auto seen = see(found.value(), patience_with(uid));
    note_look(uid, !seen.ok());
    if (!seen.ok()) {
      seen = seen_running(found.value().record, {});
      seen.value().state_reason = "its vmm process does not answer";
    }
    all.push_back(with_facts(std::move(seen).value(), services_.rota()));
  }
  return all;
}

Result<std::vector<GuestUse>> CoreDriver::use() {
  std::vector<Guest> guests;
  {
    Lock lock(mutex_);
    for (const auto& [uid, guest] : guests_)
      if (guest.process && guest.process->is_alive()) guests.push_back(guest);
  }
  std::vector<GuestUse> all;
  std::map<std::string, const VmmProcess*> can_answer;
  for (const auto& guest : guests) {
    ControlRequest request;
    request.mutable_get_status();
    const auto& uid = guest.record.uid();
    const auto reply = guest.process->call(std::move(request), patience_with(uid));
    note_look(uid, !reply.ok());
    if (!reply.ok()) continue;
    const auto& status = reply.value().status();
    all.push_back(use_of(guest.record, status, rss_mib(guest.process->pid())));
    if (has_agent(guest) && status.state() == core::v1::MachineStatus::STATE_RUNNING)
      can_answer[guest.record.uid()] = guest.process.get();
  }
  for (const auto& uid : services_.ask(can_answer)) tell(uid);
  add_answers(all, services_.rota());
  return all;
}

Result<std::vector<std::string>> CoreDriver::define(const GuestDefinition& definition) {
  core::v1::GuestRecord record = TRY(record_of(definition));
  Guest guest{.record = record};
  std::vector<std::string> pending;
  if (auto known = find(definition.uid); known.ok()) {
    guest = known.value();
    const auto seen = TRY(see(guest));
    record.set_start_time_us(guest.record.start_time_us());
    record.set_boot_id(guest.record.boot_id());
    record.set_end_reason(guest.record.end_reason());
    record.set_user(guest.record.user());
    record.set_saving(guest.record.saving());
    *record.mutable_running() = guest.record.running();
    guest.record = record;
    if (!is_off(seen)) {
      pending = pending_restart(record);
      auto limited = limit_now(guest);
      if (!limited.ok() && definition.limits != GuestLimits{}) return std::move(limited).error();
    }
  }
  give_user(guest.record);
  TRY(keep(guest));
  tell(definition.uid);
  return pending;
}

Status CoreDriver::undefine(std::string_view uid) {
  const auto found = find(uid);
  if (!found.ok()) return {};
  const Guest& guest = found.value();
  const auto seen = TRY(see(guest));
  if (!is_off(seen)) return wrong_state(seen);
  release(guest.record);
  TRY(remove_tree(vmm_folder(guest.record)));
  TRY(records_.remove(guest.record.uid()));
  {
    Lock lock(mutex_);
    guests_.erase(guest.record.uid());
    users_.erase(guest.record.user());
  }
  services_.forget(guest.record.uid());
  note_look(guest.record.uid(), false);
  tell(guest.record.uid());
  return {};
}

/// Sets them, also anew, and returns the control groups.
Result<std::vector<std::string>> CoreDriver::limit(const core::v1::GuestRecord& record) const {
  if (cgroups_.layout() == Cgroups::Layout::None)
    return Error(Code::FailedPrecondition, "LIMITS_UNAVAILABLE",
                 "no control groups are mounted at " + options_.cgroup_root);
  auto made = cgroups_.make(record.uid(), limits_of(record));
  if (made.ok()) return made;
  return Error{Code::FailedPrecondition, "LIMITS_UNAVAILABLE", made.error().message()};
}

/// Also of one that was started where there were none.
Status CoreDriver::limit_now(const Guest& guest) const {
  const auto groups = TRY(limit(guest.record));
  return Cgroups::join(groups, guest.process->pid());
}

/// A machine without limits is better than none: the host shows a warning.
std::vector<std::string> CoreDriver::limit_if_possible(const core::v1::GuestRecord& record) {
  auto groups = limit(record);
  const std::string why = groups.ok() ? "" : groups.error().message();
  if (!why.empty()) log::warning("machine without limits", {{"guest", record.uid()}, {"why", why}});
  Lock lock(mutex_);
  without_limits_ = why;
  return groups.ok() ? std::move(groups).value() : std::vector<std::string>{};
}

/// What a machine held of the host while it ran.
void CoreDriver::release(const core::v1::GuestRecord& record) const {
  unplug_network(record);
  cgroups_.remove(record.uid());
}

/// Releases what the last run held, or waits until that is done: from here on all of it is ours.
void CoreDriver::take_over(Guest& guest) {
  Lock releasing(releasing_);
  if (!guest.process) return;
  release(guest.record);
  guest.process.reset();
  Lock lock(mutex_);
  guests_[guest.record.uid()] = guest;
}

Status CoreDriver::launch(Guest guest, const std::string& saved_state) {
  if (!options_.usable)
    return Error{Code::Unimplemented, "NOT_SUPPORTED",
                 "the own core cannot run machines here: " + options_.description};
  auto& record = guest.record;
  const std::string folder = vmm_folder(record);
  TRY(VmmProcess::wait_until_free(folder));
  take_over(guest);
  TRY(clean(folder));
  // A saved machine goes on as the one it was.
  if (saved_state.empty() || !record.has_running()) *record.mutable_running() = record.machine();
  record.set_start_time_us(to_micros(clock_.wall()));
  record.set_boot_id(options_.boot_id);
  record.clear_end_reason();
  record.clear_saving();
  give_user(record);
  const auto plugs = plug_network(record);
  if (!plugs.ok()) {
    release(record);
    return plugs.error();
  }
  TRY(write_file_durably(folder + "/" + control::kMachineFile,
                         record.running().SerializeAsString()));
  const std::string restore = folder + "/" + control::kRestoreFile;
  if (!saved_state.empty() && ::link(saved_state.c_str(), restore.c_str()) != 0)
    return errno_error("linking '" + saved_state + "'");
  // On the disk: from here on a process may run, and whoever comes after us looks for it. Others
  // here see the machine as it was until the process answers: before that it would look killed.
  TRY(records_.write(record));
  auto started = VmmProcess::start({.program = options_.program,
                                    .folder = folder,
                                    .cgroups = limit_if_possible(record),
                                    .paused = !saved_state.empty(),
                                    .user = record.user(),
                                    .keep_fds = plugs.value().keep});
  std::optional<Error> failure;
  if (!started.ok()) failure = started.error();
  if (!failure) guest.process = std::make_shared<const VmmProcess>(std::move(started).value());
  const bool failed = failure && failure->reason() == "GUEST_START_FAILED";
  // Not free: one of an agent before us has come up.
  auto nobody_else = failed ? VmmProcess::wait_until_free(folder) : Status{};
  if (failed && nobody_else.ok()) {
    release(record);
    record.set_start_time_us(0);
    record.set_end_reason(failure->message());
    TRY(keep(guest));
  } else {
    Lock lock(mutex_);
    guests_[record.uid()] = guest;
  }
  TRY(std::move(nobody_else));
  if (failure) return *failure;
  (void)remove_file(restore);  // it has it open
  watcher_->add(record.uid(), guest.process);
  tell(record.uid());
  return {};
}

Status CoreDriver::start(std::string_view uid) {
  Guest guest = TRY(find(uid));
  const auto seen = TRY(see(guest));
  if (seen.state == GuestState::Running) return {};
  if (seen.state == GuestState::Paused) return wrong_state(seen);
  return launch(std::move(guest), "");
}

Status CoreDriver::send(std::string_view uid, std::initializer_list<GuestState> possible,
                        std::function<void(ControlRequest&)> verb) {
  const Guest guest = TRY(find(uid));
  const auto seen = TRY(see(guest));
  if (std::find(possible.begin(), possible.end(), seen.state) == possible.end())
    return wrong_state(seen);
  ControlRequest request;
  verb(request);
  TRY(guest.process->call(std::move(request), kVerb));
  return {};
}

Status CoreDriver::request_shutdown(std::string_view uid) {
  const Guest guest = TRY(find(uid));
  const auto seen = TRY(see(guest));
  if (is_off(seen)) return {};
  if (seen.state == GuestState::Running && has_agent(guest) &&
      services_.shut_down(*guest.process, GuestAgent::Shutdown::PowerOff))
    return {};
  return send(uid, {GuestState::Running},
              [](ControlRequest& request) { request.mutable_press_power_button(); });
}

Status CoreDriver::request_reboot(std::string_view uid) {
  return send(uid, {GuestState::Running}, [](ControlRequest& request) {
    request.mutable_press_power_button()->set_restart(true);
  });
}

Status CoreDriver::power_off(std::string_view uid) {
  return end(TRY(find(uid)), "powered off");
}

Status CoreDriver::end(Guest guest, const char* reason) {
  if (!guest.process || !guest.process->is_alive()) return {};
  TRY(guest.process->end());
  release(guest.record);
  guest.record.set_start_time_us(0);
  guest.record.set_end_reason(reason);
  guest.record.clear_saving();
  guest.process.reset();
  return keep(guest);
}

Status CoreDriver::reset(std::string_view uid) {
  return send(uid, {GuestState::Running}, [](ControlRequest& request) { request.mutable_reset(); });
}

bool CoreDriver::watch(std::function<void(std::string uid)> changed) {
  Lock lock(listener_mutex_);
  changed_ = std::move(changed);
  return true;
}

void CoreDriver::tell(const std::string& uid) {
  Lock lock(listener_mutex_);
  if (changed_) changed_(uid);
}

/// The process of a run is gone. What it held may belong to the next run already: end() and
/// launch() take a process that they have released for out of `guests_`.
void CoreDriver::ended(const std::string& uid, const VmmProcess& process) {
  {
    Lock releasing(releasing_);
    std::optional<core::v1::GuestRecord> record;
    {
      Lock lock(mutex_);
      const auto it = guests_.find(uid);
      if (it != guests_.end() && it->second.process.get() == &process) record = it->second.record;
    }
    if (record) release(*record);
    if (record) log_processor(*record);
  }
  tell(uid);
}

Result<std::string> CoreDriver::console_path(std::string_view uid) {
  const Guest guest = TRY(find(uid));
  const auto seen = TRY(see(guest));
  if (is_off(seen)) return wrong_state(seen);
  return vmm_folder(guest.record) + "/" + control::kConsoleSocket;
}

Result<std::string> CoreDriver::log_path(std::string_view uid) {
  const Guest guest = TRY(find(uid));
  return vmm_folder(guest.record) + "/" + control::kConsoleLog;
}

}  // namespace reeve::agent::core_driver
