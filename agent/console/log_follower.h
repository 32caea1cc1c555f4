// agent/console/log_follower.h - takes what is new in a hypervisor's console log into a ring.
#pragma once

#include <string>

#include "agent/console/ring.h"

namespace reeve::agent {

/// Reads from where the ring was left, through FILE.2, FILE.1, FILE.0 (older first) to the end of
/// FILE, at most `limit` bytes. True when there is more. A log that is absent is one without bytes.
/// When the file that was read last is gone, goes on with the oldest there is. Blocks on the disk.
Result<bool> follow_log(const std::string& path, ConsoleRing& ring, std::size_t limit);

}  // namespace reeve::agent
