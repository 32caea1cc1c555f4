// hypervisor_core/accel/kvm/convert.h - KVM's structures to and from accel/cpu_state.h.
#pragma once

#include "hypervisor_core/accel/cpu_state.h"
#include "hypervisor_core/accel/kvm/abi.h"

namespace reeve::core::accel::kvm {

GeneralRegisters from_kvm(const kvm_regs& in);
kvm_regs to_kvm(const GeneralRegisters& in);
SystemRegisters from_kvm(const kvm_sregs& in);
kvm_sregs to_kvm(const SystemRegisters& in);
PendingEvents from_kvm(const kvm_vcpu_events& in);
kvm_vcpu_events to_kvm(const PendingEvents& in);
DebugRegisters from_kvm(const kvm_debugregs& in);
kvm_debugregs to_kvm(const DebugRegisters& in);
RunState from_kvm(const kvm_mp_state& in);
kvm_mp_state to_kvm(RunState in);
PicState from_kvm(const kvm_pic_state& in);
kvm_pic_state to_kvm(const PicState& in);
IoApicState from_kvm(const kvm_ioapic_state& in);
kvm_ioapic_state to_kvm(const IoApicState& in);
PitChannelState from_kvm(const kvm_pit_channel_state& in);
kvm_pit_channel_state to_kvm(const PitChannelState& in);

}  // namespace reeve::core::accel::kvm
