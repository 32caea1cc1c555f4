// agent/host/machine_probe.h - the HostProbe of a real machine.
#pragma once

#include <memory>
#include <optional>

#include "agent/host/fingerprint.h"
#include "agent/host/host_probe.h"
#include "base/mutex.h"

namespace reeve::core::accel {
struct KvmUsability;
}

namespace reeve::agent {

/// Safe from several threads.
class MachineProbe final : public HostProbe {
 public:
  /// `kvm` was found by running a guest once, at the start (probe_kvm_here()).
  MachineProbe(HostRoot root, reeve::v1::KvmFacts kvm)
      : root_(std::move(root)), kvm_(std::move(kvm)) {}

  reeve::v1::HostStatus facts() override;
  reeve::v1::ResourceUse use() override;

 private:
  const HostRoot root_;
  const reeve::v1::KvmFacts kvm_;
  Mutex mutex_;
  CpuTicks last_ REEVE_GUARDED_BY(mutex_){};
};

/// What a host says of its KVM: the probe's summary, and its remedy when there is one.
reeve::v1::KvmFacts kvm_facts(const Result<core::accel::KvmUsability>& probed);
/// Runs a small guest on /dev/kvm. Blocks for up to two seconds.
reeve::v1::KvmFacts probe_kvm_here();

}  // namespace reeve::agent
