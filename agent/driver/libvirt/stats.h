// agent/driver/libvirt/stats.h - libvirt's bulk statistics calls, with fallbacks for drivers
// without them.
#pragma once

#include <utility>
#include <vector>

#include "agent/driver/libvirt/guests.h"

namespace reeve::agent::libvirt {

/// Every domain of the connection with its state: one call where the driver can, else one per
/// domain.
Result<std::vector<std::pair<Domain, DomainState>>> all_states(virConnectPtr connect);

}  // namespace reeve::agent::libvirt
