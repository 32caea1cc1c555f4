// The part of SimHypervisor that makes things go wrong.
#include "agent/driver/sim/faults.h"

#include <algorithm>

#include "agent/driver/sim/hypervisor.h"
#include "agent/driver/sim/pending.h"

namespace reeve::agent {

namespace {

bool changes_something(SimVerb verb) {
  return verb != SimVerb::List && verb != SimVerb::Get && verb != SimVerb::Use;
}

}  // namespace

std::vector<std::string> pending_restart(const GuestSeen& now, const GuestDefinition& next) {
  std::vector<std::string> pending;
  if (is_off(now)) return pending;
  if (now.cpus != next.cpus) pending.emplace_back("spec.cpus");
  if (now.memory_mib != next.memory_mib) pending.emplace_back("spec.memory_mib");
  return pending;
}

void SimHypervisor::inject(const SimFault& fault, int times) {
  Lock lock(mutex_);
  for (int i = 0; i < times; ++i) faults_.push_back(fault);
}

void SimHypervisor::set_chances(const SimChances& chances) {
  Lock lock(mutex_);
  chances_ = chances;
}

std::optional<SimFault> SimHypervisor::next_fault(SimVerb verb) {
  const auto it = std::find_if(faults_.begin(), faults_.end(), [&](const SimFault& fault) {
    return fault.verb == SimVerb::Any || fault.verb == verb;
  });
  if (it == faults_.end()) return fault_by_chance(verb);
  SimFault fault = *it;
  faults_.erase(it);
  return fault;
}

std::optional<SimFault> SimHypervisor::fault_by_chance(SimVerb verb) {
  using Effect = SimFault::Effect;
  const auto& c = chances_;
  if (c.fail + c.busy_none + c.busy_now + c.busy_later == 0 || !changes_something(verb)) return {};
  auto roll = random_.below(1000);
  const auto falls_in = [&roll](std::uint64_t width) {
    if (roll < width) return true;
    roll -= width;
    return false;
  };
  if (falls_in(c.fail)) return SimFault::fail(verb);
  if (falls_in(c.busy_none)) return SimFault::hang(verb);
  if (falls_in(c.busy_now)) return SimFault::hang(verb, Effect::Now);
  if (falls_in(c.busy_later))
    return SimFault::hang(verb, Effect::Later, std::chrono::milliseconds(random_.below(30'000)));
  return {};
}

void SimHypervisor::lose_events(bool lose) {
  Lock lock(mutex_);
  losing_events_ = lose;
}

void SimHypervisor::go_away() {
  Lock lock(mutex_);
  away_ = true;
}

void SimHypervisor::come_back() {
  Lock lock(mutex_);
  away_ = false;
  announce("");
}

void SimHypervisor::lose_power() {
  Lock lock(mutex_);
  for (auto& [uid, guest] : guests_)
    if (!is_off(guest.seen)) stop_guest(guest, GuestState::Stopped, "host lost power");
}

void SimHypervisor::vanish(std::string_view uid) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it == guests_.end()) return;
  guests_.erase(it);
  announce(std::string(uid));
}

void SimHypervisor::crash_guest(std::string_view uid) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it != guests_.end() && !is_off(it->second.seen))
    stop_guest(it->second, GuestState::Crashed, "guest crashed");
}

void SimHypervisor::guest_powers_off(std::string_view uid) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it != guests_.end() && it->second.seen.state == GuestState::Running)
    stop_guest(it->second, GuestState::Stopped, "shut down");
}

void SimHypervisor::add_foreign(const GuestSeen& guest) {
  Lock lock(mutex_);
  auto& entry = guests_[guest.uid];
  entry.seen = guest;
  entry.seen.managed = false;
  entry.running_since = loop_.clock().monotonic();
  announce(guest.uid);
}

void SimHypervisor::set_habits(std::string_view uid, const SimHabits& habits) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it != guests_.end()) it->second.habits = habits;
}

int SimHypervisor::starts_of(std::string_view uid) const {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  return it == guests_.end() ? 0 : it->second.starts;
}

GuestLimits SimHypervisor::limits_of(std::string_view uid) const {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  return it == guests_.end() ? GuestLimits{} : it->second.limits;
}

void SimHypervisor::guest_says(std::string_view uid, GuestFacts facts) {
  Lock lock(mutex_);
  const auto it = guests_.find(uid);
  if (it == guests_.end()) return;
  it->second.seen.addresses = addresses_of(facts);
  it->second.seen.guest = std::move(facts);
  announce(std::string(uid));
}

int SimHypervisor::stale_runs() const {
  Lock lock(mutex_);
  return stale_runs_;
}

}  // namespace reeve::agent
