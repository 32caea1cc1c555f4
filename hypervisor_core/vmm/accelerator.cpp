#include "hypervisor_core/vmm/accelerator.h"

#include "hypervisor_core/accel/kvm/kvm.h"

namespace reeve::core::vmm {

Result<std::unique_ptr<accel::Accelerator>> open_accelerator() {
  auto device = TRY(accel::open_kvm_device());
  return accel::make_kvm(std::move(device));
}

}  // namespace reeve::core::vmm
