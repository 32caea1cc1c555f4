// hypervisor_core/accel/kvm/vcpu.h - one vCPU of KVM.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include <sys/types.h>

#include "base/fd.h"
#include "base/mutex.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/accel/kvm/abi.h"
#include "hypervisor_core/accel/kvm/dirty_ring.h"

namespace reeve::core::accel::kvm {

/// What every vCPU of a partition shares; fixed once KVM is open.
struct VcpuTraits {
  std::size_t run_size = 0;       ///< bytes of the shared kvm_run mapping
  std::size_t xsave_size = 4096;  ///< bytes of KVM_GET_XSAVE2
  bool has_xsave2 = false;
  std::vector<std::uint32_t> saved_msrs{};  ///< indices that make up the state
};

class KvmVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<Vcpu>> create(Fd fd, std::uint32_t id, const VcpuTraits& traits,
                                              KvmDirtyRing& dirty_ring);
  ~KvmVcpu() override;
  KvmVcpu(const KvmVcpu&) = delete;
  KvmVcpu& operator=(const KvmVcpu&) = delete;

  std::uint32_t id() const override { return id_; }
  Exit run(ExitHandler& handler) override;
  void kick() override;
  Status set_cpuid(std::span<const CpuidLeaf> leaves) override;
  Result<GeneralRegisters> general_registers() const override;
  Status set_general_registers(const GeneralRegisters& registers) override;
  Result<SystemRegisters> system_registers() const override;
  Status set_system_registers(const SystemRegisters& registers) override;
  Status set_msrs(std::span<const Msr> msrs) override;
  Result<CpuState> state() const override;
  Status set_state(const CpuState& state) override;
  Status set_run_state(RunState run_state) override;
  Status prepare_local_apic() override;
  void note_pause() override;
  ExitCounters counters() const override;

 private:
  KvmVcpu(Fd fd, std::uint32_t id, const VcpuTraits& traits, KvmDirtyRing& dirty_ring)
      : fd_(std::move(fd)), id_(id), traits_(traits), dirty_ring_(dirty_ring) {}

  bool take_kick();
  void leave();
  void handle_port(ExitHandler& handler);
  void handle_mmio(ExitHandler& handler);
  Exit internal_error() const;
  Result<std::vector<Msr>> read_msrs() const;
  Status read_xsave(std::vector<std::byte>& out) const;
  Status write_xsave(const std::vector<std::byte>& in);
  static void count(std::atomic<std::uint64_t>& counter) {
    // One writer, so no locked instruction is needed.
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  const Fd fd_;
  const std::uint32_t id_;
  const VcpuTraits& traits_;  // owned by the accelerator, which outlives every vCPU
  KvmDirtyRing& dirty_ring_;  // the partition's, which outlives its vCPUs
  kvm_run* run_ = nullptr;

  Mutex kick_mutex_;
  bool kicked_ REEVE_GUARDED_BY(kick_mutex_) = false;
  pid_t running_thread_ REEVE_GUARDED_BY(kick_mutex_) = 0;

  struct Counters {
    std::atomic<std::uint64_t> total{0}, port_in{0}, port_out{0}, mmio_read{0}, mmio_write{0},
        kicked{0};
  } counters_;
};

}  // namespace reeve::core::accel::kvm
