#include "agent/host/machine_probe.h"

#include "hypervisor_core/accel/kvm/probe.h"

namespace reeve::agent {

reeve::v1::HostStatus MachineProbe::facts() {
  reeve::v1::HostStatus host;
  host.set_boot_id(read_boot_id(root_));
  host.set_hostname(read_hostname(root_));
  host.set_kernel(read_kernel(root_));
  host.set_os(read_os(root_));
  *host.mutable_cpu() = read_cpu(root_);
  host.set_memory_mib(read_memory_mib(root_));
  for (auto& node : read_numa(root_)) *host.add_numa_nodes() = std::move(node);
  for (auto& disk : read_disks(root_)) *host.add_disks() = std::move(disk);
  for (auto& nic : read_nics(root_)) *host.add_nics() = std::move(nic);
  *host.mutable_kvm() = kvm_;
  return host;
}

reeve::v1::ResourceUse MachineProbe::use() {
  const CpuTicks now = read_cpu_ticks(root_);
  reeve::v1::ResourceUse use;
  use.set_memory_used_mib(read_memory_used_mib(root_));
  Lock lock(mutex_);
  if (last_.total != 0 && now.total > last_.total && now.busy >= last_.busy) {
    constexpr std::uint64_t kWhole = 10'000;
    use.set_cpu_basis_points(
        static_cast<std::int32_t>((now.busy - last_.busy) * kWhole / (now.total - last_.total)));
  }
  last_ = now;
  return use;
}

reeve::v1::KvmFacts kvm_facts(const Result<core::accel::KvmUsability>& probed) {
  reeve::v1::KvmFacts facts;
  if (!probed.ok()) {
    facts.set_description("the probe failed: " + probed.error().message());
    return facts;
  }
  const auto& found = probed.value();
  facts.set_usable(found.usable);
  facts.set_description(found.summary + (found.remedy.empty() ? "" : "; " + found.remedy));
  return facts;
}

reeve::v1::KvmFacts probe_kvm_here() {
  return kvm_facts(core::accel::probe_kvm());
}

}  // namespace reeve::agent
