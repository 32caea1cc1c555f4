// agent/driver/libvirt/limits.h - a guest's limits, in its definition and while it runs.
#pragma once

#include <set>
#include <string>

#include <pugixml.hpp>

#include "agent/driver/driver.h"
#include "agent/driver/libvirt/handles.h"
#include "base/status.h"

namespace reeve::agent::libvirt {

/// How <shares> counts: libvirt hands the number on to the kernel, whose control groups of version
/// 1 have 1024 as their usual weight, those of version 2 100.
enum class Shares : std::uint8_t { Version1, Version2 };
Shares shares_here();

/// The kinds of limits of a guest that are not the default, as our mark claims them.
std::set<std::string> limit_kinds(const GuestLimits& limits);
/// The ones that the definition's mark claims.
std::set<std::string> owned_limits(pugi::xml_node domain);

/// Writes the limits; takes out those of `owned` that are the default now. Those that others set
/// stay.
void patch_limits(pugi::xml_node domain, const GuestLimits& limits,
                  const std::set<std::string>& owned);

/// The same in a running guest of `memory_mib`, at once. FailedPrecondition/LIMITS_UNAVAILABLE with
/// the hypervisor's words.
Status apply_limits(virDomainPtr domain, std::int64_t memory_mib, const GuestLimits& limits,
                    const std::set<std::string>& owned);
/// Whether the guest's definition has limits of ours.
bool has_limits(virDomainPtr domain);
/// Whether this hypervisor can limit the running guest at all: it may be set up without control
/// groups.
bool can_limit(virDomainPtr domain);

}  // namespace reeve::agent::libvirt
