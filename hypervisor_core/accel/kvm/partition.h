// hypervisor_core/accel/kvm/partition.h - one virtual machine of KVM: memory slots, interrupts,
// vCPUs.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/accel/kvm/abi.h"
#include "hypervisor_core/accel/kvm/dirty_ring.h"
#include "hypervisor_core/accel/kvm/vcpu.h"

namespace reeve::core::accel::kvm {

class KvmPartition final : public Partition, public Doorbells {
 public:
  static Result<std::unique_ptr<Partition>> create(Fd fd, const VcpuTraits& traits,
                                                   std::size_t max_routes,
                                                   std::span<const MemorySlot> memory);

  Status set_memory(const MemorySlot& slot) override;
  Status take_dirty(std::uint32_t slot, std::span<std::uint64_t> bitmap) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t id) override;
  void set_irq(std::uint32_t line, bool level) override;
  Result<std::unique_ptr<MsiLine>> create_msi_line() override;
  Result<InterruptControllerState> interrupt_state() const override;
  Status set_interrupt_state(const InterruptControllerState& state) override;
  Result<std::uint64_t> clock() const override;
  Status set_clock(std::uint64_t nanoseconds) override;
  Doorbells* doorbells() override { return this; }
  DirtyRing* dirty_ring() override { return &dirty_ring_; }

  Status attach(Gpa address, int event_fd) override;
  Status detach(Gpa address, int event_fd) override;

 private:
  class Line;

  KvmPartition(Fd fd, const VcpuTraits& traits, std::size_t max_routes);
  Status set_up(std::span<const MemorySlot> memory);
  Status set_route(std::uint32_t gsi, const MsiMessage& message);
  void release_route(std::uint32_t gsi);
  Status write_routes() REEVE_REQUIRES(mutex_);

  const Fd fd_;
  const VcpuTraits& traits_;  // owned by the accelerator, which outlives every partition
  const std::size_t max_routes_;
  KvmDirtyRing dirty_ring_;

  Mutex mutex_;
  std::vector<kvm_irq_routing_entry> pins_;  ///< fixed: 8259 and IOAPIC
  std::map<std::uint32_t, MsiMessage> messages_ REEVE_GUARDED_BY(mutex_);
  std::vector<std::uint32_t> free_gsis_ REEVE_GUARDED_BY(mutex_);
  std::uint32_t next_gsi_ REEVE_GUARDED_BY(mutex_) = 24;
  std::map<std::uint32_t, MemorySlot> slots_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::core::accel::kvm
