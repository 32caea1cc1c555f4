#include "hypervisor_core/accel/kvm/kvm.h"

#include <string>

#include <fcntl.h>

#include "base/file.h"
#include "hypervisor_core/accel/kvm/abi.h"
#include "hypervisor_core/accel/kvm/ioctl.h"
#include "hypervisor_core/accel/kvm/partition.h"

namespace reeve::core::accel {
namespace kvm {
namespace {

struct Need {
  long capability;
  const char* name;
};

constexpr Need kNeeds[] = {
    {KVM_CAP_USER_MEMORY, "user memory"},
    {KVM_CAP_IRQCHIP, "in-kernel irqchip"},
    {KVM_CAP_IRQFD, "irqfd"},
    {KVM_CAP_IOEVENTFD, "ioeventfd"},
    {KVM_CAP_IOEVENTFD_NO_LENGTH, "ioeventfd of any length"},
    {KVM_CAP_IRQ_ROUTING, "interrupt routing"},
    {KVM_CAP_SIGNAL_MSI, "MSI"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
    {KVM_CAP_PIT2, "PIT"},
    {KVM_CAP_XSAVE, "XSAVE state"},
    {KVM_CAP_ADJUST_CLOCK, "clock adjustment"},
    {KVM_CAP_MP_STATE, "MP state"},
    {KVM_CAP_VCPU_EVENTS, "vCPU events"},
    {KVM_CAP_DEBUGREGS, "debug registers"},
    {KVM_CAP_READONLY_MEM, "read-only memory"},
};

/// CPUID leaf 1, ecx: local APIC timers that fire at a value of the time stamp counter. Without it
/// a guest spends a tenth of a second on finding out how fast its timer runs.
constexpr std::uint32_t kDeadlineTimer = 1u << 24;

class Kvm final : public Accelerator {
 public:
  explicit Kvm(Fd device) : device_(std::move(device)) {}

  Status set_up() {
    if (kvm_ioctl(device_.get(), KVM_GET_API_VERSION) != KVM_API_VERSION)
      return Error{Code::FailedPrecondition, "KVM_TOO_OLD",
                   "the KVM interface has another version"};
    for (const auto& need : kNeeds)
      if (capability(need.capability) <= 0)
        return Error{Code::FailedPrecondition, "KVM_TOO_OLD",
                     std::string("KVM lacks ") + need.name};
    const int run_size = kvm_ioctl(device_.get(), KVM_GET_VCPU_MMAP_SIZE);
    if (run_size < static_cast<int>(sizeof(kvm_run))) return errno_error("KVM_GET_VCPU_MMAP_SIZE");
    traits_.run_size = static_cast<std::size_t>(run_size);
    traits_.saved_msrs = TRY(msr_indices());
    return {};
  }

  std::string_view name() const override { return "kvm"; }

  std::uint32_t max_vcpus() const override {
    const int most = capability(KVM_CAP_MAX_VCPUS);
    return most > 0 ? static_cast<std::uint32_t>(most) : 4;
  }

  Result<std::vector<CpuidLeaf>> supported_cpuid() const override {
    for (std::size_t room = 128; room <= 4096; room *= 2) {
      VariableStruct<kvm_cpuid2, kvm_cpuid_entry2> cpuid(room);
      cpuid->nent = static_cast<__u32>(room);
      if (kvm_ioctl(device_.get(), KVM_GET_SUPPORTED_CPUID, cpuid.get()) < 0) {
        if (errno == E2BIG) continue;
        return errno_error("KVM_GET_SUPPORTED_CPUID");
      }
      // Not in that list, for it depends on the irqchip, which we always have (KVM's API, 4.46).
      const bool has_deadline = capability(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
      std::vector<CpuidLeaf> out;
      for (std::size_t i = 0; i < cpuid->nent; ++i) {
        const auto& leaf = cpuid.entries()[i];
        out.push_back({.function = leaf.function,
                       .index = leaf.index,
                       .index_matters = (leaf.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0,
                       .eax = leaf.eax,
                       .ebx = leaf.ebx,
                       .ecx = leaf.ecx,
                       .edx = leaf.edx});
        if (leaf.function == 1 && has_deadline) out.back().ecx |= kDeadlineTimer;
      }
      return out;
    }
    return Error{Code::Internal, "SYSTEM_CALL", "KVM reports too many CPUID leaves"};
  }

  Result<std::unique_ptr<Partition>> create_partition(std::span<const MemorySlot> memory) override {
    Fd vm(kvm_ioctl(device_.get(), KVM_CREATE_VM));
    if (!vm) return errno_error("creating a KVM virtual machine");
    const int xsave = kvm_ioctl(vm.get(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    if (xsave > 0) {
      traits_.has_xsave2 = true;
      traits_.xsave_size = static_cast<std::size_t>(std::max(xsave, 4096));
    }
    return KvmPartition::create(std::move(vm), traits_,
                                static_cast<std::size_t>(capability(KVM_CAP_IRQ_ROUTING)), memory);
  }

 private:
  int capability(long id) const {
    return kvm_ioctl(device_.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(id));
  }

  Result<std::vector<std::uint32_t>> msr_indices() const {
    kvm_msr_list probe{};
    (void)kvm_ioctl(device_.get(), KVM_GET_MSR_INDEX_LIST, &probe);  // E2BIG tells the number
    VariableStruct<kvm_msr_list, __u32> list(probe.nmsrs);
    list->nmsrs = probe.nmsrs;
    if (kvm_ioctl(device_.get(), KVM_GET_MSR_INDEX_LIST, list.get()) < 0)
      return errno_error("KVM_GET_MSR_INDEX_LIST");
    return std::vector<std::uint32_t>(list.entries(), list.entries() + list->nmsrs);
  }

  const Fd device_;
  VcpuTraits traits_;
};

}  // namespace
}  // namespace kvm

Result<Fd> open_kvm_device(const char* path) {
  auto device = open_file(path, O_RDWR);
  if (device.ok()) return device;
  const auto& cause = device.error();
  if (cause.code() == Code::NotFound) return Error{Code::NotFound, "KVM_ABSENT", cause.message()};
  if (cause.code() == Code::PermissionDenied)
    return Error{Code::PermissionDenied, "KVM_ACCESS", cause.message()};
  return Error{Code::FailedPrecondition, "KVM_ABSENT", cause.message()};
}

Result<std::unique_ptr<Accelerator>> make_kvm(Fd device) {
  auto kvm = std::make_unique<kvm::Kvm>(std::move(device));
  TRY(kvm->set_up());
  return std::unique_ptr<Accelerator>(std::move(kvm));
}

}  // namespace reeve::core::accel
