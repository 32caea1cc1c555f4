// hypervisor_core/accel/kvm/probe.h - can this KVM run unmodified guests? Finds out by running one.
//
// Some machines have a /dev/kvm that answers every question well and still executes foreign code
// only through an instruction emulator. A 64-bit payload with paging, an interrupt table, int3,
// SSE2 and cmpxchg16b tells; device file and interface version do not.
#pragma once

#include <chrono>
#include <string>

#include "base/status.h"
#include "hypervisor_core/accel/kvm/kvm.h"

namespace reeve::core::accel {

struct KvmUsability {
  bool present = false;  ///< the device could be opened
  bool usable = false;   ///< the payload ran to its end
  /// KVM_OK, KVM_ABSENT, KVM_ACCESS, KVM_TOO_OLD or KVM_EMULATED; stable.
  std::string reason{};
  /// For a person, e.g. "KVM present, cannot run unmodified guests (emulated): emulation failure at
  /// int3".
  std::string summary{};
  std::string remedy{};
  std::chrono::microseconds took{0};
};

/// Runs the payload on an accelerator that could be opened; what probe_kvm() says of KVM. Blocks
/// for at most `deadline`.
KvmUsability probe_accelerator(Accelerator& accelerator,
                               std::chrono::milliseconds deadline = std::chrono::seconds(2));

/// Runs the payload; at most `deadline`. Blocks. An Error only for trouble of our own (no memory).
Result<KvmUsability> probe_kvm(const char* device = kKvmDevice,
                               std::chrono::milliseconds deadline = std::chrono::seconds(2));

}  // namespace reeve::core::accel
