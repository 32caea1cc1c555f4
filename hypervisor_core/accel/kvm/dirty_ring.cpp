#include "hypervisor_core/accel/kvm/dirty_ring.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include <sys/mman.h>

#include "base/fd.h"
#include "hypervisor_core/accel/kvm/ioctl.h"

namespace reeve::core::accel::kvm {
namespace {

constexpr std::uint32_t kFewest = kPageSize / sizeof(kvm_dirty_gfn);
constexpr int kPageBits = 48;

}  // namespace

Status KvmDirtyRing::enable(std::uint32_t pages_per_vcpu) {
  const int most_bytes = kvm_ioctl(partition_fd_, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
  if (most_bytes <= 0)
    return Error{Code::Unimplemented, "DIRTY_RING_ABSENT", "this KVM has no dirty ring"};
  const auto most = static_cast<std::uint32_t>(most_bytes) / sizeof(kvm_dirty_gfn);
  if (!std::has_single_bit(pages_per_vcpu) || pages_per_vcpu < kFewest || pages_per_vcpu > most)
    return Error{Code::InvalidArgument, "DIRTY_RING_SIZE",
                 "a dirty ring of " + std::to_string(pages_per_vcpu) +
                     " pages: needed is a power of two from " + std::to_string(kFewest) + " to " +
                     std::to_string(most)};
  kvm_enable_cap request{};
  request.cap = KVM_CAP_DIRTY_LOG_RING;
  request.args[0] = pages_per_vcpu * sizeof(kvm_dirty_gfn);
  if (kvm_ioctl(partition_fd_, KVM_ENABLE_CAP, &request) < 0)
    return errno_error("enabling the dirty ring");
  entries_ = pages_per_vcpu;
  return {};
}

Status KvmDirtyRing::add(int vcpu_fd) {
  if (entries_ == 0) return {};
  void* mapping = mmap(nullptr, entries_ * sizeof(kvm_dirty_gfn), PROT_READ | PROT_WRITE,
                       MAP_SHARED, vcpu_fd, KVM_DIRTY_LOG_PAGE_OFFSET * kPageSize);
  if (mapping == MAP_FAILED) return errno_error("mapping a dirty ring");
  Lock lock(mutex_);
  rings_.push_back({.vcpu_fd = vcpu_fd, .entries = static_cast<kvm_dirty_gfn*>(mapping)});
  return {};
}

void KvmDirtyRing::remove(int vcpu_fd) {
  Lock lock(mutex_);
  std::erase_if(rings_, [&](const Ring& ring) {
    if (ring.vcpu_fd != vcpu_fd) return false;
    munmap(ring.entries, entries_ * sizeof(kvm_dirty_gfn));
    return true;
  });
}

Status KvmDirtyRing::harvest() {
  bool any = false;
  for (auto& ring : rings_) {
    for (;;) {
      auto& entry = ring.entries[ring.next % entries_];
      const std::atomic_ref<__u32> flags(entry.flags);
      if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY) == 0) break;
      waiting_.insert((std::uint64_t{entry.slot} << kPageBits) | entry.offset);
      flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
      ++ring.next;
      any = true;
    }
  }
  if (any && kvm_ioctl(partition_fd_, KVM_RESET_DIRTY_RINGS) < 0)
    return errno_error("resetting the dirty rings");
  return {};
}

Status KvmDirtyRing::empty() {
  Lock lock(mutex_);
  return harvest();
}

Status KvmDirtyRing::take(std::vector<DirtyPage>& out) {
  Lock lock(mutex_);
  TRY(harvest());
  for (const std::uint64_t page : waiting_)
    out.push_back({.slot = static_cast<std::uint32_t>(page >> kPageBits),
                   .page = page & ((std::uint64_t{1} << kPageBits) - 1)});
  waiting_.clear();
  return {};
}

}  // namespace reeve::core::accel::kvm
