// hypervisor_core/vmm/accelerator.h - what executes guest code in this process: the one place that
// chooses it.
#pragma once

#include <memory>

#include "base/status.h"
#include "hypervisor_core/accel/accelerator.h"

namespace reeve::core::vmm {

/// KVM, there being no other yet; before the jail closes. Errors of accel/kvm/kvm.h.
Result<std::unique_ptr<accel::Accelerator>> open_accelerator();

}  // namespace reeve::core::vmm
