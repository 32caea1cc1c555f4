#include "agent/driver/libvirt/guests.h"

#include <array>
#include <functional>
#include <set>

#include "agent/driver/libvirt/domain_xml.h"
#include "agent/driver/libvirt/error.h"
#include "agent/driver/libvirt/stats.h"

namespace reeve::agent::libvirt {

using std::chrono::steady_clock;

namespace {

Result<DomainFacts> read_xml(virDomainPtr domain, unsigned flags) {
  const Text xml(virDomainGetXMLDesc(domain, flags));
  if (!xml) return last_error("reading the guest's definition");
  return read_domain_facts(xml.get());
}

}  // namespace

bool is_active(const DomainState& state) {
  return state.state != VIR_DOMAIN_SHUTOFF && state.state != VIR_DOMAIN_NOSTATE;
}

GuestState guest_state(const DomainState& state) {
  switch (state.state) {
    case VIR_DOMAIN_NOSTATE: return GuestState::Stopped;
    case VIR_DOMAIN_PAUSED:
    case VIR_DOMAIN_PMSUSPENDED: return GuestState::Paused;
    case VIR_DOMAIN_CRASHED: return GuestState::Crashed;
    case VIR_DOMAIN_SHUTOFF:
      return state.reason == VIR_DOMAIN_SHUTOFF_CRASHED ? GuestState::Crashed : GuestState::Stopped;
    default: return GuestState::Running;
  }
}

std::string_view reason_text(const DomainState& state) {
  static constexpr std::array<std::string_view, 9> kShutoff{"",
                                                            "shut down",
                                                            "powered off",
                                                            "crashed",
                                                            "moved to another host",
                                                            "saved",
                                                            "failed to start",
                                                            "as its checkpoint was",
                                                            "ended by the daemon"};
  static constexpr std::array<std::string_view, 13> kPaused{"",
                                                            "paused",
                                                            "moving",
                                                            "being saved",
                                                            "being dumped",
                                                            "disk error",
                                                            "watchdog fired",
                                                            "as its checkpoint was",
                                                            "shutting down",
                                                            "checkpointing",
                                                            "crashed",
                                                            "starting",
                                                            "move failed half-way"};
  const auto at = static_cast<std::size_t>(state.reason);
  if (state.state == VIR_DOMAIN_SHUTOFF && at < kShutoff.size()) return kShutoff[at];
  if (state.state == VIR_DOMAIN_PAUSED && at < kPaused.size()) return kPaused[at];
  if (state.state == VIR_DOMAIN_SHUTDOWN) return "shutting down";
  if (state.state == VIR_DOMAIN_PMSUSPENDED) return "suspended by the guest";
  return "";
}

std::string uid_of(virDomainPtr domain) {
  std::array<char, VIR_UUID_STRING_BUFLEN> text{};
  if (virDomainGetUUIDString(domain, text.data()) < 0) return {};
  return text.data();
}

Result<DomainState> state_of(virDomainPtr domain) {
  DomainState state;
  if (virDomainGetState(domain, &state.state, &state.reason, 0) < 0)
    return last_error("reading the guest's state");
  return state;
}

std::vector<std::string> pending_restart(const Definitions& definitions) {
  std::vector<std::string> pending;
  if (!definitions.live) return pending;
  if (definitions.live->cpus != definitions.config.cpus) pending.emplace_back("spec.cpus");
  if (definitions.live->memory_mib != definitions.config.memory_mib)
    pending.emplace_back("spec.memory_mib");
  return pending;
}

void Guests::forget(const std::string& uid) {
  Lock lock(mutex_);
  if (uid.empty()) {
    for (auto& [id, entry] : entries_) {
      ++entry.version;
      entry.definitions.reset();
    }
    return;
  }
  auto& entry = entries_[uid];
  ++entry.version;
  entry.definitions.reset();
}

void Guests::note_reboot(const std::string& uid) {
  Lock lock(mutex_);
  ++entries_[uid].reboots;
}

Result<Definitions> Guests::definitions(virDomainPtr domain, bool active) const {
  Definitions read;
  read.config = TRY(read_xml(domain, VIR_DOMAIN_XML_INACTIVE));
  if (active) read.live = TRY(read_xml(domain, 0));
  return read;
}

Result<std::shared_ptr<const Definitions>> Guests::known(virDomainPtr domain,
                                                         const std::string& uid, bool active,
                                                         bool fresh) {
  std::uint64_t version = 0;
  {
    Lock lock(mutex_);
    const auto& entry = entries_[uid];
    version = entry.version;
    if (!fresh && entry.definitions && entry.active == active &&
        steady_clock::now() < entry.expires)
      return entry.definitions;
  }
  std::shared_ptr<const Definitions> read =
      std::make_shared<Definitions>(TRY(definitions(domain, active)));
  Lock lock(mutex_);
  auto& entry = entries_[uid];
  if (entry.version != version) return read;  // changed while we read: the next one reads again
  entry.definitions = read;
  entry.active = active;
  // Spread over a half, so that a thousand guests do not expire in the same call.
  const auto spread = static_cast<std::int64_t>(std::hash<std::string>()(uid) % 512);
  entry.expires = steady_clock::now() + keep_ + keep_ * spread / 1024;
  return read;
}

Result<GuestSeen> Guests::seen(virDomainPtr domain, const DomainState& state, bool fresh) {
  const auto uid = uid_of(domain);
  const bool active = is_active(state);
  const auto definitions = TRY(known(domain, uid, active, fresh));
  const auto& read = *definitions;
  const auto& now = read.live ? *read.live : read.config;
  std::uint64_t reboots = 0;
  {
    Lock lock(mutex_);
    auto& entry = entries_[uid];
    entry.answers = now.agent_connected && state.state == VIR_DOMAIN_RUNNING;
    reboots = entry.reboots;
  }
  return GuestSeen{.uid = uid,
                   .display_name = read.config.display_name(),
                   .state = guest_state(state),
                   .state_reason = std::string(reason_text(state)),
                   .managed = read.config.managed,
                   .cpus = now.cpus,
                   .memory_mib = now.memory_mib,
                   .start_time = read.live ? read.live->start_time : std::nullopt,
                   .pending_restart = pending_restart(read),
                   .reboots = reboots};
}

Result<GuestSeen> Guests::seen_without_definition(virDomainPtr domain, const DomainState& state,
                                                  const Error& why) const {
  virDomainInfo info;
  if (virDomainGetInfo(domain, &info) < 0) return last_error("reading the guest's size");
  const char* name = virDomainGetName(domain);
  // Ours stays ours: its saved state, say, is looked for in our store.
  const Text mark(virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, kNamespace,
                                       VIR_DOMAIN_AFFECT_CURRENT));
  GuestSeen guest{.uid = uid_of(domain),
                  .display_name = printable(name ? name : ""),
                  .state = guest_state(state),
                  .state_reason = "its definition cannot be read: " + why.message(),
                  .managed = static_cast<bool>(mark),
                  .cpus = static_cast<std::int32_t>(info.nrVirtCpu),
                  .memory_mib = static_cast<std::int64_t>(info.maxMem >> 10)};
  Lock lock(mutex_);
  if (const auto entry = entries_.find(guest.uid); entry != entries_.end())
    guest.reboots = entry->second.reboots;
  return guest;
}

Result<GuestSeen> Guests::get(virDomainPtr domain) {
  const auto state = TRY(state_of(domain));
  return seen(domain, state, true);
}

Result<std::vector<GuestSeen>> Guests::list(virConnectPtr connect) {
  std::vector<GuestSeen> all;
  const auto states = TRY(all_states(connect));
  all.reserve(states.size());
  for (const auto& [domain, state] : states) {
    auto guest = seen(domain.get(), state, false);
    if (!guest.ok() && guest.error().code() != Code::Unavailable &&
        guest.error().code() != Code::NotFound)
      guest = seen_without_definition(domain.get(), state, guest.error());
    // Gone between the two calls: it is not in the list, and that is the truth.
    if (!guest.ok() && guest.error().reason() == "GUEST_NOT_FOUND") continue;
    if (!guest.ok()) return std::move(guest).error();
    all.push_back(std::move(guest).value());
  }
  drop_absent(all);
  return all;
}

std::vector<std::string> Guests::that_answer() const {
  std::vector<std::string> uids;
  Lock lock(mutex_);
  for (const auto& [uid, entry] : entries_)
    if (entry.answers) uids.push_back(uid);
  return uids;
}

void Guests::drop_absent(const std::vector<GuestSeen>& present) {
  std::set<std::string_view> uids;
  for (const auto& guest : present) uids.insert(guest.uid);
  Lock lock(mutex_);
  std::erase_if(entries_, [&](const auto& entry) { return !uids.contains(entry.first); });
}

}  // namespace reeve::agent::libvirt
