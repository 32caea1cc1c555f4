// server/agents/sightings.h - what an agent sees, applied to the inventory in one transaction.
//
// Observation wins over record, with two exceptions: while a job holds a machine the job's end wins
// (what was seen is held back and taken afresh afterwards), and a machine that a job deleted is
// never brought back. Only changes that mean something make versions.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "db/sqlite/transaction.h"
#include "reeve/agent/v1/link_service.pb.h"
#include "reeve/agent/v1/observation.pb.h"

namespace reeve::server {

struct SightingOutcome {
  std::vector<std::string> held_back{};  ///< machines that a job holds
  std::vector<std::string> strangers{};  ///< marked as ours, yet deleted here or placed elsewhere
  bool look_again = false;               ///< a hypervisor is back: its machines are wanted afresh
};

/// NotFound/HOST_NOT_FOUND when the host is gone. Entries that make no sense (not a UUID, an
/// unknown hypervisor) are left out.
Status apply_observation(db::Transaction& tx, const std::string& host_uid,
                         const agent::v1::Observation& seen, WallTime now, Random& random,
                         SightingOutcome& outcome);

/// The agent is connected, with these features agreed on, or no longer. NotFound/HOST_NOT_FOUND.
Status mark_connected(db::Transaction& tx, const std::string& host_uid,
                      const agent::v1::Hello& hello, const std::vector<std::string>& features,
                      std::int64_t epoch, WallTime now);
Status mark_disconnected(db::Transaction& tx, const std::string& host_uid, std::int64_t epoch,
                         WallTime last_seen, WallTime now);
/// At the start of a server nobody is connected.
Status mark_all_disconnected(db::Transaction& tx, WallTime now);

}  // namespace reeve::server
