// hypervisor_core/bus/machine_events.h - what a guest can ask of the whole machine through a
// device.
#pragma once

#include <cstdint>

namespace reeve::core {

enum class MachineEvent : std::uint8_t {
  Reset,         ///< i8042, port 0xCF9 or the ACPI reset register
  PowerOff,      ///< ACPI S5
  DebugExit,     ///< isa-debug-exit; the value is the code
  Panicked,      ///< pvpanic: the guest kernel crashed and stays
  DiskWaiting,   ///< not the guest: a request started to wait for the host's disk, or all are done
  NetworkLost,   ///< not the guest: the host's side of a network card has gone, for good
  AlarmChanged,  ///< the clock's alarm is due at another time than before
  CrashLoaded,   ///< pvpanic: it crashed and a crash kernel takes over
};

/// Called on vCPU threads; returns at once, acts later.
class MachineEvents {
 public:
  virtual ~MachineEvents() = default;
  virtual void raise(MachineEvent event, std::uint32_t value) = 0;
};

}  // namespace reeve::core
