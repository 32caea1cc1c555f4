// hypervisor_core/fuzz/still_machine.h - a whole machine whose processors never execute anything:
// its board, devices, files and verbs are the real ones, without KVM.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/fd.h"
#include "hypervisor_core/accel/accelerator.h"
#include "hypervisor_core/net/loopback_backend.h"
#include "hypervisor_core/vm/peripherals.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::fuzz {

/// Takes every state, interrupt, message and doorbell, and forgets all but the state.
class StillAccelerator final : public accel::Accelerator {
 public:
  std::string_view name() const override { return "still"; }
  std::uint32_t max_vcpus() const override { return 4; }
  Result<std::vector<accel::CpuidLeaf>> supported_cpuid() const override;
  Result<std::unique_ptr<accel::Partition>> create_partition(
      std::span<const accel::MemorySlot> memory) override;
};

/// The files and the network of one machine: two vCPUs, 4 MiB, and one of each device.
class StillWorld {
 public:
  /// `folder` is where the machine's sockets are.
  explicit StillWorld(const std::filesystem::path& folder);
  v1::MachineConfig config() const;
  /// For one machine at a time.
  OpenNetwork open_network();

 private:
  const std::filesystem::path folder_;
  Fd kernel_, disk_;
  std::unique_ptr<LoopbackBackend> far_end_;
};

}  // namespace reeve::core::fuzz
