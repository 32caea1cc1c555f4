#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "hypervisor_core/accel/kvm/convert.h"
#include "hypervisor_core/accel/kvm/ioctl.h"
#include "hypervisor_core/accel/kvm/vcpu.h"

namespace reeve::core::accel::kvm {
namespace {

constexpr std::uint32_t kMsrTscDeadline = 0x6e0;
constexpr std::size_t kLvtLint0 = 0x350;
constexpr std::size_t kLvtLint1 = 0x360;
constexpr std::uint32_t kDeliverExtInt = 0x700;
constexpr std::uint32_t kDeliverNmi = 0x400;

Error refused(std::string_view what) {
  return Error{Code::InvalidArgument, "STATE_REFUSED", errno_error(what).message()};
}

}  // namespace

Status KvmVcpu::set_cpuid(std::span<const CpuidLeaf> leaves) {
  VariableStruct<kvm_cpuid2, kvm_cpuid_entry2> cpuid(leaves.size());
  cpuid->nent = static_cast<__u32>(leaves.size());
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    auto& out = cpuid.entries()[i];
    out.function = leaves[i].function;
    out.index = leaves[i].index;
    out.flags = leaves[i].index_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    out.eax = leaves[i].eax;
    out.ebx = leaves[i].ebx;
    out.ecx = leaves[i].ecx;
    out.edx = leaves[i].edx;
  }
  if (kvm_ioctl(fd_.get(), KVM_SET_CPUID2, cpuid.get()) < 0) return refused("setting CPUID");
  return {};
}

Result<GeneralRegisters> KvmVcpu::general_registers() const {
  kvm_regs regs{};
  if (kvm_ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0) return errno_error("reading registers");
  return from_kvm(regs);
}

Status KvmVcpu::set_general_registers(const GeneralRegisters& registers) {
  const kvm_regs regs = to_kvm(registers);
  if (kvm_ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) return refused("setting registers");
  return {};
}

Result<SystemRegisters> KvmVcpu::system_registers() const {
  kvm_sregs sregs{};
  if (kvm_ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0)
    return errno_error("reading system registers");
  return from_kvm(sregs);
}

Status KvmVcpu::set_system_registers(const SystemRegisters& registers) {
  const kvm_sregs sregs = to_kvm(registers);
  if (kvm_ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0) return refused("setting system registers");
  return {};
}

Status KvmVcpu::set_msrs(std::span<const Msr> msrs) {
  VariableStruct<kvm_msrs, kvm_msr_entry> request(1);
  for (const auto& msr : msrs) {
    request->nmsrs = 1;
    request.entries()[0] = {};
    request.entries()[0].index = msr.index;
    request.entries()[0].data = msr.value;
    const int set = kvm_ioctl(fd_.get(), KVM_SET_MSRS, request.get());
    if (set < 0) return errno_error("setting MSRs");
    // Zero is what a register of an absent feature reads as; nothing is lost if it cannot be
    // written.
    if (set == 0 && msr.value != 0)
      return Error{Code::FailedPrecondition, "MSR_REFUSED",
                   "MSR " + std::to_string(msr.index) + " was refused"};
  }
  return {};
}

Result<std::vector<Msr>> KvmVcpu::read_msrs() const {
  const auto& indices = traits_.saved_msrs;
  VariableStruct<kvm_msrs, kvm_msr_entry> request(indices.size());
  std::vector<Msr> out;
  out.reserve(indices.size());
  std::size_t next = 0;
  while (next < indices.size()) {
    const std::size_t batch = indices.size() - next;
    request->nmsrs = static_cast<__u32>(batch);
    for (std::size_t i = 0; i < batch; ++i) {
      request.entries()[i] = {};
      request.entries()[i].index = indices[next + i];
    }
    const int got = kvm_ioctl(fd_.get(), KVM_GET_MSRS, request.get());
    if (got < 0) return errno_error("reading MSRs");
    for (int i = 0; i < got; ++i)
      out.push_back({request.entries()[i].index, request.entries()[i].data});
    // The call stops at the first register that this vCPU does not have.
    next += static_cast<std::size_t>(got) + 1;
  }
  // The deadline only holds when the time it refers to is in place: it goes last.
  std::stable_partition(out.begin(), out.end(),
                        [](const Msr& msr) { return msr.index != kMsrTscDeadline; });
  return out;
}

Status KvmVcpu::read_xsave(std::vector<std::byte>& out) const {
  out.assign(traits_.xsave_size, std::byte{0});
  const auto request = traits_.has_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
  if (kvm_ioctl(fd_.get(), request, out.data()) < 0) return errno_error("reading XSAVE state");
  return {};
}

Status KvmVcpu::write_xsave(const std::vector<std::byte>& in) {
  if (in.size() > traits_.xsave_size)
    return Error{Code::InvalidArgument, "STATE_REFUSED",
                 "the processor state needs a larger XSAVE area than this host has"};
  std::vector<std::byte> area(traits_.xsave_size, std::byte{0});
  std::copy(in.begin(), in.end(), area.begin());
  if (kvm_ioctl(fd_.get(), KVM_SET_XSAVE, area.data()) < 0) return refused("setting XSAVE state");
  return {};
}

Result<CpuState> KvmVcpu::state() const {
  CpuState out;
  // First: reading it makes KVM act on a pending INIT or SIPI, which changes the registers.
  kvm_mp_state mp{};
  if (kvm_ioctl(fd_.get(), KVM_GET_MP_STATE, &mp) < 0) return errno_error("reading run state");
  out.run_state = from_kvm(mp);
  out.general = TRY(general_registers());
  out.system = TRY(system_registers());
  TRY(read_xsave(out.xsave));
  kvm_xcrs xcrs{};
  if (kvm_ioctl(fd_.get(), KVM_GET_XCRS, &xcrs) == 0 && xcrs.nr_xcrs >= 1)
    out.xcr0 = xcrs.xcrs[0].value;
  kvm_debugregs debug{};
  if (kvm_ioctl(fd_.get(), KVM_GET_DEBUGREGS, &debug) < 0)
    return errno_error("reading debug registers");
  out.debug = from_kvm(debug);
  kvm_lapic_state lapic{};
  if (kvm_ioctl(fd_.get(), KVM_GET_LAPIC, &lapic) < 0) return errno_error("reading local APIC");
  static_assert(sizeof lapic.regs == sizeof out.local_apic);
  std::memcpy(out.local_apic.data(), lapic.regs, sizeof lapic.regs);
  const int khz = kvm_ioctl(fd_.get(), KVM_GET_TSC_KHZ);
  out.tsc_khz = khz > 0 ? static_cast<std::uint32_t>(khz) : 0;
  out.msrs = TRY(read_msrs());
  kvm_vcpu_events events{};
  if (kvm_ioctl(fd_.get(), KVM_GET_VCPU_EVENTS, &events) < 0)
    return errno_error("reading pending events");
  out.events = from_kvm(events);
  return out;
}

Status KvmVcpu::set_state(const CpuState& state) {
  TRY(set_system_registers(state.system));
  TRY(set_general_registers(state.general));
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].value = state.xcr0;
  if (kvm_ioctl(fd_.get(), KVM_SET_XCRS, &xcrs) < 0 && state.xcr0 != 1)
    return refused("setting XCR0");
  TRY(write_xsave(state.xsave));
  const kvm_debugregs debug = to_kvm(state.debug);
  if (kvm_ioctl(fd_.get(), KVM_SET_DEBUGREGS, &debug) < 0)
    return refused("setting debug registers");
  if (state.tsc_khz != 0) {
    const int here = kvm_ioctl(fd_.get(), KVM_GET_TSC_KHZ);
    if (here > 0 && static_cast<std::uint32_t>(here) != state.tsc_khz &&
        kvm_ioctl(fd_.get(), KVM_SET_TSC_KHZ, state.tsc_khz) < 0)
      return Error{Code::FailedPrecondition, "CPU_FEATURE",
                   "the guest's time stamp counter runs at " + std::to_string(state.tsc_khz) +
                       " kHz, this host's at " + std::to_string(here) +
                       " kHz, and it cannot be scaled"}
          .remedy("Restore it on a host with this frequency or with TSC scaling.");
  }
  kvm_lapic_state lapic{};
  std::memcpy(lapic.regs, state.local_apic.data(), sizeof lapic.regs);
  if (kvm_ioctl(fd_.get(), KVM_SET_LAPIC, &lapic) < 0) return refused("setting local APIC");
  TRY(set_msrs(state.msrs));
  const kvm_vcpu_events events = to_kvm(state.events);
  if (kvm_ioctl(fd_.get(), KVM_SET_VCPU_EVENTS, &events) < 0)
    return refused("setting pending events");
  return set_run_state(state.run_state);
}

Status KvmVcpu::set_run_state(RunState run_state) {
  const kvm_mp_state mp = to_kvm(run_state);
  if (kvm_ioctl(fd_.get(), KVM_SET_MP_STATE, &mp) < 0) return refused("setting run state");
  return {};
}

Status KvmVcpu::prepare_local_apic() {
  kvm_lapic_state lapic{};
  if (kvm_ioctl(fd_.get(), KVM_GET_LAPIC, &lapic) < 0) return errno_error("reading local APIC");
  const auto set_delivery = [&](std::size_t offset, std::uint32_t mode) {
    const auto reg = std::as_writable_bytes(std::span(lapic.regs)).subspan(offset, 4);
    store_le<std::uint32_t>(reg, (load_le<std::uint32_t>(reg) & ~0x700u & ~(1u << 16)) | mode);
  };
  if (id_ == 0) set_delivery(kLvtLint0, kDeliverExtInt);
  set_delivery(kLvtLint1, kDeliverNmi);
  if (kvm_ioctl(fd_.get(), KVM_SET_LAPIC, &lapic) < 0) return refused("setting local APIC");
  return {};
}

void KvmVcpu::note_pause() {
  (void)kvm_ioctl(fd_.get(), KVM_KVMCLOCK_CTRL);  // refused while the guest has no such clock
}

}  // namespace reeve::core::accel::kvm
