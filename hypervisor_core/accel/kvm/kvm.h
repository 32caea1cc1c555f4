// hypervisor_core/accel/kvm/kvm.h - the KVM accelerator. Source: Documentation/virt/kvm/api.rst.
//
// kick() uses the first real-time signal (SIGRTMIN) of the process; the program leaves it
// unblocked.
#pragma once

#include <memory>

#include "base/fd.h"
#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"

namespace reeve::core::accel {

inline constexpr const char* kKvmDevice = "/dev/kvm";

/// Opens the device; NotFound/KVM_ABSENT, PermissionDenied/KVM_ACCESS.
Result<Fd> open_kvm_device(const char* path = kKvmDevice);

/// KVM behind an open device. FailedPrecondition/KVM_TOO_OLD names the missing ability.
Result<std::unique_ptr<Accelerator>> make_kvm(Fd device);

}  // namespace reeve::core::accel
