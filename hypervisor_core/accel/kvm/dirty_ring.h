// hypervisor_core/accel/kvm/dirty_ring.h - the rings in which KVM names written pages, one per
// vCPU. Source: Documentation/virt/kvm/api.rst, 8.29.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/accel/kvm/abi.h"

namespace reeve::core::accel::kvm {

/// All rings of a partition. Thread-safe. What has been named and not taken is kept once per page,
/// so a guest cannot make it grow beyond its memory.
class KvmDirtyRing final : public DirtyRing {
 public:
  explicit KvmDirtyRing(int partition_fd) : partition_fd_(partition_fd) {}

  Status enable(std::uint32_t pages_per_vcpu) override;
  Status take(std::vector<DirtyPage>& out) override;

  bool enabled() const { return entries_ != 0; }
  /// Maps the ring of a new vCPU; nothing when not enabled.
  Status add(int vcpu_fd);
  /// Before the vCPU goes.
  void remove(int vcpu_fd);
  /// A ring is full: empties all, so that the vCPU can go on.
  Status empty();

 private:
  struct Ring {
    int vcpu_fd = -1;
    kvm_dirty_gfn* entries = nullptr;
    std::uint32_t next = 0;
  };
  Status harvest() REEVE_REQUIRES(mutex_);

  const int partition_fd_;
  std::uint32_t entries_ = 0;  ///< per ring; set before the first vCPU
  Mutex mutex_;
  std::vector<Ring> rings_ REEVE_GUARDED_BY(mutex_);
  std::unordered_set<std::uint64_t> waiting_ REEVE_GUARDED_BY(mutex_);  ///< slot << 48 | page
};

}  // namespace reeve::core::accel::kvm
