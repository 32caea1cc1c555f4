// agent/driver/sim/pending.h - what of a definition waits for a simulated guest's next start.
#pragma once

#include <string>
#include <vector>

#include "agent/driver/driver.h"

namespace reeve::agent {

/// What of `next` a guest running as `now` gets only at its next start.
std::vector<std::string> pending_restart(const GuestSeen& now, const GuestDefinition& next);

}  // namespace reeve::agent
