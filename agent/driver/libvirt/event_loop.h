// agent/driver/libvirt/event_loop.h - the one libvirt event loop of the process.
//
// libvirt wants one implementation, registered before the first connection is opened, never
// replaced, and run for the life of the process (libvirt.org/html/libvirt-libvirt-event.html).
// Keepalive, close callbacks and events all depend on it. Callbacks run on its thread,
// "libvirt-events", and must not block.
#pragma once

#include "base/status.h"

namespace reeve::agent::libvirt {

/// Registers and starts the loop; from the second call on, returns the first one's outcome.
Status ensure_event_loop();

}  // namespace reeve::agent::libvirt
