// agent/driver/sim/pending.h - small questions about a simulated guest.
#pragma once

#include <string>
#include <vector>

#include "agent/driver/driver.h"

namespace reeve::agent {

/// Neither running nor paused.
bool is_off(const GuestSeen& seen);
/// What of `next` a guest running as `now` gets only at its next start.
std::vector<std::string> pending_restart(const GuestSeen& now, const GuestDefinition& next);

}  // namespace reeve::agent
