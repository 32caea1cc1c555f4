#include "agent/driver/sim/hypervisor.h"

#include <algorithm>

#include "agent/driver/sim/pending.h"

namespace reeve::agent {

using std::chrono::microseconds;

namespace {

Error not_found(std::string_view uid) {
  return Error(Code::NotFound, "GUEST_NOT_FOUND", "no guest " + std::string(uid));
}

Error wrong_state(const GuestSeen& seen) {
  constexpr std::string_view kNames[] = {"stopped", "running", "paused", "crashed"};
  return Error(Code::FailedPrecondition, "GUEST_STATE",
               "guest '" + seen.display_name + "' is " +
                   std::string(kNames[static_cast<std::size_t>(seen.state)]));
}

Error hypervisor_down() {
  return Error(Code::Unavailable, "HYPERVISOR_DOWN", "the connection to the hypervisor is lost");
}

Error taken_in_restore(const std::string& path) {
  return Error(Code::NotFound, "SAVED_STATE_NOT_FOUND", "no saved state in '" + path + "'");
}

}  // namespace

SimHypervisor::SimHypervisor(Loop& loop, Random& random, SimOptions options)
    : loop_(loop), random_(random), options_(std::move(options)) {}

SimHypervisor::~SimHypervisor() {
  Lock lock(life_->mutex);
  life_->over = true;
}

// --- Verbs ---

DriverFacts SimHypervisor::facts() const {
  Lock lock(mutex_);
  DriverFacts facts{.kind = "sim", .uri = "sim:///" + options_.name, .version = "1"};
  facts.available = !away_;
  if (away_) facts.description = hypervisor_down().message();
  facts.capabilities = {"define",          "pause",    "reboot",      "reset",
                        "resource-limits", "shutdown", "user-network"};
  if (options_.events) facts.capabilities.emplace_back("events");
  if (options_.statistics) facts.capabilities.emplace_back("statistics");
  if (options_.saved_state) facts.capabilities.emplace_back("saved-state");
  std::sort(facts.capabilities.begin(), facts.capabilities.end());
  return facts;
}

Result<std::vector<GuestSeen>> SimHypervisor::list() {
  Lock lock(mutex_);
  std::vector<GuestSeen> seen;
  TRY(call(SimVerb::List, [] { return Status{}; }));
  seen.reserve(guests_.size());
  for (const auto& [uid, guest] : guests_) seen.push_back(guest.seen);
  return seen;
}

Result<GuestSeen> SimHypervisor::get(std::string_view uid) {
  Lock lock(mutex_);
  TRY(call(SimVerb::Get, [] { return Status{}; }));
  const auto it = guests_.find(uid);
  if (it == guests_.end()) return not_found(uid);
  return it->second.seen;
}

Result<std::vector<GuestUse>> SimHypervisor::use() {
  Lock lock(mutex_);
  TRY(call(SimVerb::Use, [] { return Status{}; }));
  std::vector<GuestUse> uses;
  if (!options_.statistics) return uses;
  for (const auto& [uid, guest] : guests_) {
    if (is_off(guest.seen)) continue;
    const auto micros = static_cast<std::uint64_t>(cpu_time_of(guest).count());
    // A tenth of each CPU, and traffic in proportion: enough for graphs to show something.
    uses.push_back({.uid = uid,
                    .cpu_time_us = micros,
                    .memory_mib = guest.seen.memory_mib,
                    .disk_read_bytes = micros / 10,
                    .disk_write_bytes = micros / 20,
                    .net_receive_bytes = micros / 100,
                    .net_send_bytes = micros / 200});
    if (guest.seen.guest) uses.back().guest_answer = loop_.clock().wall();
  }
  return uses;
}

Result<std::vector<std::string>> SimHypervisor::define(const GuestDefinition& definition) {
  Lock lock(mutex_);
  auto pending = std::make_shared<std::vector<std::string>>();
  TRY(call(SimVerb::Define, [this, definition, pending]() REEVE_REQUIRES(mutex_) {
    auto& guest = guests_[definition.uid];
    guest.definition = definition;
    guest.seen.uid = definition.uid;
    guest.seen.display_name = definition.display_name;
    guest.seen.managed = true;
    guest.limits = definition.limits;
    if (is_off(guest.seen)) {
      guest.seen.cpus = definition.cpus;
      guest.seen.memory_mib = definition.memory_mib;
    }
    guest.seen.pending_restart = pending_restart(guest.seen, definition);
    *pending = guest.seen.pending_restart;
    announce(definition.uid);
    return Status{};
  }));
  return *pending;
}

Status SimHypervisor::undefine(std::string_view uid) {
  Lock lock(mutex_);
  return call(SimVerb::Undefine, [this, id = std::string(uid)]() REEVE_REQUIRES(mutex_) -> Status {
    const auto it = guests_.find(id);
    if (it == guests_.end()) return {};
    if (!is_off(it->second.seen)) return wrong_state(it->second.seen);
    guests_.erase(it);
    announce(id);
    return {};
  });
}

Status SimHypervisor::start(std::string_view uid) {
  return on_guest(SimVerb::Start, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
    if (guest.seen.state == GuestState::Running) return {};
    if (guest.seen.state == GuestState::Paused) return wrong_state(guest.seen);
    load_guest(guest, GuestState::Running);
    run_guest(guest);
    return {};
  });
}

Status SimHypervisor::request_shutdown(std::string_view uid) {
  return on_guest(
      SimVerb::RequestShutdown, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
        if (is_off(guest.seen)) return {};
        if (guest.seen.state == GuestState::Paused) return wrong_state(guest.seen);
        const auto& habits = habits_of(guest);
        if (habits.ignores_shutdown) return {};
        in_this_run(guest, habits.shutdown_delay, [this](Guest& g) REEVE_REQUIRES(mutex_) {
          stop_guest(g, GuestState::Stopped, "shut down");
        });
        return {};
      });
}

Status SimHypervisor::request_reboot(std::string_view uid) {
  return on_guest(
      SimVerb::RequestReboot, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
        if (guest.seen.state != GuestState::Running) return wrong_state(guest.seen);
        const auto& habits = habits_of(guest);
        if (habits.ignores_shutdown) return {};
        in_this_run(guest, habits.reboot_delay, [this](Guest& g) REEVE_REQUIRES(mutex_) {
          ++g.seen.reboots;
          announce(g.seen.uid);
        });
        return {};
      });
}

Status SimHypervisor::power_off(std::string_view uid) {
  return on_guest(SimVerb::PowerOff, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
    if (guest.seen.state == GuestState::Stopped) return {};
    stop_guest(guest, GuestState::Stopped, "powered off");
    return {};
  });
}

Status SimHypervisor::reset(std::string_view uid) {
  return on_guest(SimVerb::Reset, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
    if (guest.seen.state != GuestState::Running) return wrong_state(guest.seen);
    announce(guest.seen.uid);
    return {};
  });
}

Status SimHypervisor::pause(std::string_view uid) {
  return on_guest(SimVerb::Pause, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
    if (guest.seen.state == GuestState::Paused) return {};
    if (is_off(guest.seen)) return wrong_state(guest.seen);
    guest.cpu_time = cpu_time_of(guest);
    guest.seen.state = GuestState::Paused;
    guest.seen.state_reason = "paused";
    announce(guest.seen.uid);
    return {};
  });
}

Status SimHypervisor::resume(std::string_view uid) {
  return on_guest(SimVerb::Resume, uid, [this](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
    if (guest.seen.state == GuestState::Running) return {};
    if (is_off(guest.seen)) return wrong_state(guest.seen);
    run_guest(guest);
    return {};
  });
}

Status SimHypervisor::save(std::string_view uid, const std::string& path) {
  return on_guest(SimVerb::Save, uid, [this, path](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
    if (is_off(guest.seen)) {
      // A repeat whose first answer was lost.
      const auto done = saved_.find(path);
      if (done != saved_.end() && done->second.uid == guest.seen.uid &&
          done->second.disk_writes == guest.disk_writes)
        return {};
      return wrong_state(guest.seen);
    }
    saved_[path] = {.uid = guest.seen.uid,
                    .disk_writes = guest.restored_at.value_or(guest.disk_writes),
                    .seen = guest.seen,
                    .cpu_time = cpu_time_of(guest)};
    stop_guest(guest, GuestState::Stopped, "saved");
    return {};
  });
}

Status SimHypervisor::restore(std::string_view uid, const std::string& path) {
  return on_guest(SimVerb::Restore, uid,
                  [this, path](Guest& guest) REEVE_REQUIRES(mutex_) -> Status {
                    if (!is_off(guest.seen)) return {};
                    const auto saved = saved_.find(path);
                    if (saved == saved_.end() || saved->second.uid != guest.seen.uid)
                      return taken_in_restore(path);
                    load_guest(guest, GuestState::Paused);
                    guest.restored_at = saved->second.disk_writes;
                    guest.seen.cpus = saved->second.seen.cpus;
                    guest.seen.memory_mib = saved->second.seen.memory_mib;
                    guest.seen.pending_restart = pending_restart(guest.seen, guest.definition);
                    guest.cpu_time = saved->second.cpu_time;
                    return {};
                  });
}

// --- Guests ---

void SimHypervisor::load_guest(Guest& guest, GuestState state) {
  ++guest.run;
  ++guest.starts;
  guest.cpu_time = microseconds(0);
  guest.restored_at.reset();
  guest.seen.state = state;
  guest.seen.state_reason = {};
  guest.seen.start_time = loop_.clock().wall();
  if (guest.seen.managed) {
    guest.seen.cpus = guest.definition.cpus;
    guest.seen.memory_mib = guest.definition.memory_mib;
  }
  guest.seen.pending_restart.clear();
  announce(guest.seen.uid);
}

void SimHypervisor::run_guest(Guest& guest) {
  if (guest.restored_at && *guest.restored_at != guest.disk_writes) ++stale_runs_;
  guest.restored_at.reset();
  ++guest.disk_writes;
  guest.running_since = loop_.clock().monotonic();
  guest.seen.state = GuestState::Running;
  guest.seen.state_reason = {};
  announce(guest.seen.uid);
}

void SimHypervisor::stop_guest(Guest& guest, GuestState state, std::string reason) {
  ++guest.run;
  guest.restored_at.reset();
  guest.seen.state = state;
  guest.seen.state_reason = std::move(reason);
  guest.seen.start_time.reset();
  guest.seen.addresses.clear();
  guest.seen.guest.reset();
  guest.seen.pending_restart.clear();
  if (guest.seen.managed) {
    guest.seen.cpus = guest.definition.cpus;
    guest.seen.memory_mib = guest.definition.memory_mib;
  }
  announce(guest.seen.uid);
}

const SimHabits& SimHypervisor::habits_of(const Guest& guest) const {
  return guest.habits ? *guest.habits : options_.habits;
}

microseconds SimHypervisor::cpu_time_of(const Guest& guest) const {
  if (guest.seen.state != GuestState::Running) return guest.cpu_time;
  const auto ran =
      std::chrono::duration_cast<microseconds>(loop_.clock().monotonic() - guest.running_since);
  return guest.cpu_time + ran * guest.seen.cpus / 10;
}

void SimHypervisor::in_this_run(const Guest& guest, microseconds delay,
                                std::function<void(Guest&)> work) {
  after(delay, [this, uid = guest.seen.uid, run = guest.run, work = std::move(work)] {
    Lock lock(mutex_);
    const auto it = guests_.find(uid);
    if (it != guests_.end() && it->second.run == run &&
        it->second.seen.state == GuestState::Running)
      work(it->second);
  });
}

// --- Calls and events ---

Status SimHypervisor::on_guest(SimVerb verb, std::string_view uid,
                               std::function<Status(Guest&)> work) {
  Lock lock(mutex_);
  return call(verb,
              [this, id = std::string(uid), work = std::move(work)]()
                  REEVE_REQUIRES(mutex_) -> Status {
                    const auto it = guests_.find(id);
                    if (it == guests_.end()) return not_found(id);
                    return work(it->second);
                  });
}

Status SimHypervisor::call(SimVerb verb, Work work) {
  if (away_) return hypervisor_down();
  const auto fault = next_fault(verb);
  if (!fault) return work();
  if (fault->effect == SimFault::Effect::Now) static_cast<void>(work());
  if (fault->effect == SimFault::Effect::Later)
    after(fault->delay, [this, work = std::move(work)] {
      Lock lock(mutex_);
      static_cast<void>(work());
    });
  return fault->error;
}

void SimHypervisor::after(microseconds delay, std::function<void()> work) {
  loop_.post_after(delay, [life = life_, work = std::move(work)] {
    Lock lock(life->mutex);
    if (!life->over) work();
  });
}

void SimHypervisor::announce(const std::string& uid) {
  auto delay = options_.event_delay;
  if (options_.event_jitter.count() > 0)
    delay += microseconds(random_.below(static_cast<std::uint64_t>(options_.event_jitter.count())));
  if (losing_events_ || away_) return;
  if (chances_.lose_event > 0 && random_.below(1000) < chances_.lose_event) return;
  for (const auto& listener : listeners_)
    loop_.post_after(delay, [listener, uid] {
      Lock lock(listener->mutex);
      if (listener->changed) listener->changed(uid);
    });
}

void SimHypervisor::add_listener(std::shared_ptr<Listener> listener) {
  Lock lock(mutex_);
  listeners_.push_back(std::move(listener));
}

void SimHypervisor::remove_listener(const std::shared_ptr<Listener>& listener) {
  {
    Lock lock(mutex_);
    std::erase(listeners_, listener);
  }
  Lock lock(listener->mutex);  // waits for a call under way
  listener->changed = nullptr;
}

}  // namespace reeve::agent
