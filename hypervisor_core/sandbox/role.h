// hypervisor_core/sandbox/role.h - what a thread of reeve-vmm is for, and hence may ask of the
// kernel.
#pragma once

#include <cstdint>
#include <functional>

#include "base/status.h"

namespace reeve::core {

enum class ThreadRole : std::uint8_t {
  Vcpu,     ///< vcpu-N: runs guest code
  Disk,     ///< workers and I/O threads of a disk
  Network,  ///< workers of a network card
  Socket,   ///< worker of vsock: UNIX sockets in the root folder
  Device,   ///< workers of all other devices
  Control,  ///< virtio-control: makes and ends the workers
  Events,   ///< vm-events: resets and ends the machine
  Fill,     ///< memory-fill: reads a saved state while the guest runs
};

/// Runs first on every thread of a machine: gives up what the role does not need.
using PrepareThread = std::function<Status(ThreadRole)>;

}  // namespace reeve::core
