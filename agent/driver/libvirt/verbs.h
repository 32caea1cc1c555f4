// agent/driver/libvirt/verbs.h - the verbs on one domain, each idempotent; they run on call
// threads.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agent/driver/driver.h"
#include "agent/driver/libvirt/domain_xml.h"
#include "agent/driver/libvirt/guests.h"
#include "agent/driver/libvirt/handles.h"
#include "agent/driver/libvirt/probe.h"

namespace reeve::agent::libvirt {

/// NotFound/GUEST_NOT_FOUND.
Result<Domain> find_domain(virConnectPtr connect, std::string_view uid);

/// Driver::define. `choices.name` is chosen here.
Result<std::vector<std::string>> define_guest(virConnectPtr connect, Guests& guests,
                                              const GuestDefinition& guest, XmlChoices choices,
                                              const Abilities& abilities);
Status undefine_guest(virDomainPtr domain, Guests& guests);
/// Also writes the time into the live mark of our guests.
Status start_guest(virDomainPtr domain, WallTime now);
Status shut_down_guest(virDomainPtr domain, Guests& guests, std::chrono::seconds agent_deadline);
Status reboot_guest(virDomainPtr domain, Guests& guests, std::chrono::seconds agent_deadline);
Status power_off_guest(virDomainPtr domain);
Status reset_guest(virDomainPtr domain);
Status pause_guest(virDomainPtr domain);
Status resume_guest(virDomainPtr domain);
/// What the agent in it says. Errors of the hypervisor, also when it is silent.
Result<GuestFacts> ask_guest(virDomainPtr domain, std::chrono::seconds agent_deadline);
/// SerialConsole::console_path.
Result<std::string> console_path_of(virDomainPtr domain, Guests& guests);
/// SerialConsole::log_path.
Result<std::string> console_log_of(virDomainPtr domain, Guests& guests);
Status save_guest(virDomainPtr domain, const std::string& path);
/// Leaves it paused; see driver.h.
Status restore_guest(virDomainPtr domain, const std::string& path, WallTime now);

}  // namespace reeve::agent::libvirt
