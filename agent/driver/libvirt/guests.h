// agent/driver/libvirt/guests.h - the guests of a connection as GuestSeen, without asking for each
// one anew.
//
// One bulk call gives the state of all; definitions are read once and kept until an event names the
// guest, or for a limited time, since a few changes of definitions (virsh setvcpus --config) make
// no event.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/driver/driver.h"
#include "agent/driver/libvirt/domain_facts.h"
#include "agent/driver/libvirt/handles.h"
#include "base/mutex.h"

namespace reeve::agent::libvirt {

/// A domain's state in libvirt's numbers.
struct DomainState {
  int state = VIR_DOMAIN_NOSTATE;
  int reason = 0;
};

bool is_active(const DomainState& state);
/// Our word for it; unknown numbers of newer versions are Running when active.
GuestState guest_state(const DomainState& state);
std::string_view reason_text(const DomainState& state);

/// Both definitions of a guest; `live` only while it runs.
struct Definitions {
  DomainFacts config{};
  std::optional<DomainFacts> live{};
};

class Guests {
 public:
  explicit Guests(std::chrono::milliseconds keep) : keep_(keep) {}

  /// Any thread; an empty uid forgets all.
  void forget(const std::string& uid);
  /// The guest restarted without ending.
  void note_reboot(const std::string& uid);

  /// A guest whose definition cannot be read is there all the same, with what libvirt says of it
  /// without one, and the cause as its state_reason.
  Result<std::vector<GuestSeen>> list(virConnectPtr connect);
  /// Fresh.
  Result<GuestSeen> get(virDomainPtr domain);
  Result<Definitions> definitions(virDomainPtr domain, bool active) const;
  /// Those that run and have an agent, as far as is known.
  std::vector<std::string> that_answer() const;

 private:
  struct Entry {
    std::uint64_t version = 0;  ///< rises with each event: what was read before is not kept
    std::shared_ptr<const Definitions> definitions{};
    bool active = false;  ///< when they were read
    std::chrono::steady_clock::time_point expires{};
    bool answers = false;  ///< when it was last looked at
    std::uint64_t reboots = 0;
  };

  Result<GuestSeen> seen(virDomainPtr domain, const DomainState& state, bool fresh);
  Result<GuestSeen> seen_without_definition(virDomainPtr domain, const DomainState& state,
                                            const Error& why) const;
  Result<std::shared_ptr<const Definitions>> known(virDomainPtr domain, const std::string& uid,
                                                   bool active, bool fresh);
  void drop_absent(const std::vector<GuestSeen>& present);

  const std::chrono::milliseconds keep_;
  mutable Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ REEVE_GUARDED_BY(mutex_);
};

std::string uid_of(virDomainPtr domain);
Result<DomainState> state_of(virDomainPtr domain);
/// Changes of the definition that a running guest gets at its next start.
std::vector<std::string> pending_restart(const Definitions& definitions);

/// Use of the running guests; empty where the connection has no bulk statistics.
Result<std::vector<GuestUse>> read_use(virConnectPtr connect);

}  // namespace reeve::agent::libvirt
