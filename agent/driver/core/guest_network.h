// agent/driver/core/guest_network.h - what a machine's network cards are plugged into: a passt
// process for the user network, a tap device on a bridge otherwise.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "reeve/core/v1/guest_record.pb.h"

namespace reeve::agent::core_driver {

/// Ends of sockets that the vmm process is to inherit, under the numbers in its configuration.
struct Plugs {
  std::vector<Fd> fds{};
  std::vector<std::pair<int, int>> keep{};
};

/// Makes passt processes and tap devices for the cards of `record.running` and writes them there.
/// A passt ends by itself when the vmm process does. FailedPrecondition/NETWORK_UNAVAILABLE.
Result<Plugs> plug_network(core::v1::GuestRecord& record);

/// Removes the tap devices; fine when there are none.
void unplug_network(const core::v1::GuestRecord& record);

/// True where the user network can be had.
bool has_passt();

}  // namespace reeve::agent::core_driver
