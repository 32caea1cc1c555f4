#include "hypervisor_core/accel/kvm/convert.h"

namespace reeve::core::accel::kvm {
namespace {

Segment from_segment(const kvm_segment& in) {
  return {.base = in.base,
          .limit = in.limit,
          .selector = in.selector,
          .type = in.type,
          .present = in.present,
          .privilege = in.dpl,
          .default_big = in.db,
          .code_or_data = in.s,
          .long_mode = in.l,
          .granularity = in.g,
          .available = in.avl,
          .unusable = in.unusable};
}

kvm_segment to_segment(const Segment& in) {
  kvm_segment out{};
  out.base = in.base;
  out.limit = in.limit;
  out.selector = in.selector;
  out.type = in.type;
  out.present = in.present;
  out.dpl = in.privilege;
  out.db = in.default_big;
  out.s = in.code_or_data;
  out.l = in.long_mode;
  out.g = in.granularity;
  out.avl = in.available;
  out.unusable = in.unusable;
  return out;
}

kvm_dtable to_table(const DescriptorTable& in) {
  kvm_dtable out{};
  out.base = in.base;
  out.limit = in.limit;
  return out;
}

}  // namespace

GeneralRegisters from_kvm(const kvm_regs& in) {
  return {.rax = in.rax,
          .rbx = in.rbx,
          .rcx = in.rcx,
          .rdx = in.rdx,
          .rsi = in.rsi,
          .rdi = in.rdi,
          .rsp = in.rsp,
          .rbp = in.rbp,
          .r8 = in.r8,
          .r9 = in.r9,
          .r10 = in.r10,
          .r11 = in.r11,
          .r12 = in.r12,
          .r13 = in.r13,
          .r14 = in.r14,
          .r15 = in.r15,
          .rip = in.rip,
          .rflags = in.rflags};
}

kvm_regs to_kvm(const GeneralRegisters& in) {
  kvm_regs out{};
  out.rax = in.rax, out.rbx = in.rbx, out.rcx = in.rcx, out.rdx = in.rdx;
  out.rsi = in.rsi, out.rdi = in.rdi, out.rsp = in.rsp, out.rbp = in.rbp;
  out.r8 = in.r8, out.r9 = in.r9, out.r10 = in.r10, out.r11 = in.r11;
  out.r12 = in.r12, out.r13 = in.r13, out.r14 = in.r14, out.r15 = in.r15;
  out.rip = in.rip, out.rflags = in.rflags;
  return out;
}

SystemRegisters from_kvm(const kvm_sregs& in) {
  SystemRegisters out{.cs = from_segment(in.cs),
                      .ds = from_segment(in.ds),
                      .es = from_segment(in.es),
                      .fs = from_segment(in.fs),
                      .gs = from_segment(in.gs),
                      .ss = from_segment(in.ss),
                      .tr = from_segment(in.tr),
                      .ldt = from_segment(in.ldt),
                      .gdt = {in.gdt.base, in.gdt.limit},
                      .idt = {in.idt.base, in.idt.limit},
                      .cr0 = in.cr0,
                      .cr2 = in.cr2,
                      .cr3 = in.cr3,
                      .cr4 = in.cr4,
                      .cr8 = in.cr8,
                      .efer = in.efer,
                      .apic_base = in.apic_base};
  for (std::size_t i = 0; i < out.pending_interrupts.size(); ++i)
    out.pending_interrupts[i] = in.interrupt_bitmap[i];
  return out;
}

kvm_sregs to_kvm(const SystemRegisters& in) {
  kvm_sregs out{};
  out.cs = to_segment(in.cs), out.ds = to_segment(in.ds), out.es = to_segment(in.es);
  out.fs = to_segment(in.fs), out.gs = to_segment(in.gs), out.ss = to_segment(in.ss);
  out.tr = to_segment(in.tr), out.ldt = to_segment(in.ldt);
  out.gdt = to_table(in.gdt), out.idt = to_table(in.idt);
  out.cr0 = in.cr0, out.cr2 = in.cr2, out.cr3 = in.cr3, out.cr4 = in.cr4, out.cr8 = in.cr8;
  out.efer = in.efer, out.apic_base = in.apic_base;
  for (std::size_t i = 0; i < in.pending_interrupts.size(); ++i)
    out.interrupt_bitmap[i] = in.pending_interrupts[i];
  return out;
}

PendingEvents from_kvm(const kvm_vcpu_events& in) {
  return {.exception_injected = in.exception.injected != 0,
          .exception_pending = in.exception.pending != 0,
          .exception_has_error = in.exception.has_error_code != 0,
          .exception_vector = in.exception.nr,
          .exception_error = in.exception.error_code,
          .exception_has_payload = in.exception_has_payload != 0,
          .exception_payload = in.exception_payload,
          .interrupt_injected = in.interrupt.injected != 0,
          .interrupt_soft = in.interrupt.soft != 0,
          .interrupt_vector = in.interrupt.nr,
          .interrupt_shadow = in.interrupt.shadow,
          .nmi_injected = in.nmi.injected != 0,
          .nmi_pending = in.nmi.pending != 0,
          .nmi_masked = in.nmi.masked != 0,
          .sipi_vector = in.sipi_vector};
}

kvm_vcpu_events to_kvm(const PendingEvents& in) {
  kvm_vcpu_events out{};
  // exception.pending and the payload need an opt-in that we do not take: pending means injected
  // here.
  out.exception.injected = in.exception_injected || in.exception_pending;
  out.exception.nr = in.exception_vector;
  out.exception.has_error_code = in.exception_has_error;
  out.exception.error_code = in.exception_error;
  out.interrupt.injected = in.interrupt_injected;
  out.interrupt.soft = in.interrupt_soft;
  out.interrupt.nr = in.interrupt_vector;
  out.interrupt.shadow = in.interrupt_shadow;
  out.nmi.injected = in.nmi_injected;
  out.nmi.pending = in.nmi_pending;
  out.nmi.masked = in.nmi_masked;
  out.sipi_vector = in.sipi_vector;
  out.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
              KVM_VCPUEVENT_VALID_SHADOW;
  return out;
}

DebugRegisters from_kvm(const kvm_debugregs& in) {
  DebugRegisters out{.dr6 = in.dr6, .dr7 = in.dr7};
  for (std::size_t i = 0; i < out.address.size(); ++i) out.address[i] = in.db[i];
  return out;
}

kvm_debugregs to_kvm(const DebugRegisters& in) {
  kvm_debugregs out{};
  for (std::size_t i = 0; i < in.address.size(); ++i) out.db[i] = in.address[i];
  out.dr6 = in.dr6;
  out.dr7 = in.dr7;
  return out;
}

RunState from_kvm(const kvm_mp_state& in) {
  switch (in.mp_state) {
    case KVM_MP_STATE_UNINITIALIZED: return RunState::WaitingForInit;
    case KVM_MP_STATE_INIT_RECEIVED: return RunState::InitReceived;
    case KVM_MP_STATE_HALTED: return RunState::Halted;
    case KVM_MP_STATE_SIPI_RECEIVED: return RunState::SipiReceived;
    default: return RunState::Runnable;
  }
}

kvm_mp_state to_kvm(RunState in) {
  switch (in) {
    case RunState::WaitingForInit: return {KVM_MP_STATE_UNINITIALIZED};
    case RunState::InitReceived: return {KVM_MP_STATE_INIT_RECEIVED};
    case RunState::Halted: return {KVM_MP_STATE_HALTED};
    case RunState::SipiReceived: return {KVM_MP_STATE_SIPI_RECEIVED};
    case RunState::Runnable: break;
  }
  return {KVM_MP_STATE_RUNNABLE};
}

PicState from_kvm(const kvm_pic_state& in) {
  return {.last_irr = in.last_irr,
          .irr = in.irr,
          .imr = in.imr,
          .isr = in.isr,
          .priority_add = in.priority_add,
          .irq_base = in.irq_base,
          .read_reg_select = in.read_reg_select,
          .poll = in.poll,
          .special_mask = in.special_mask,
          .init_state = in.init_state,
          .auto_eoi = in.auto_eoi,
          .rotate_on_auto_eoi = in.rotate_on_auto_eoi,
          .special_fully_nested = in.special_fully_nested_mode,
          .init4 = in.init4,
          .elcr = in.elcr,
          .elcr_mask = in.elcr_mask};
}

kvm_pic_state to_kvm(const PicState& in) {
  kvm_pic_state out{};
  out.last_irr = in.last_irr, out.irr = in.irr, out.imr = in.imr, out.isr = in.isr;
  out.priority_add = in.priority_add, out.irq_base = in.irq_base;
  out.read_reg_select = in.read_reg_select, out.poll = in.poll;
  out.special_mask = in.special_mask, out.init_state = in.init_state, out.auto_eoi = in.auto_eoi;
  out.rotate_on_auto_eoi = in.rotate_on_auto_eoi;
  out.special_fully_nested_mode = in.special_fully_nested;
  out.init4 = in.init4, out.elcr = in.elcr, out.elcr_mask = in.elcr_mask;
  return out;
}

IoApicState from_kvm(const kvm_ioapic_state& in) {
  IoApicState out{.register_select = in.ioregsel, .id = in.id, .irr = in.irr};
  for (std::size_t i = 0; i < out.redirection.size(); ++i) out.redirection[i] = in.redirtbl[i].bits;
  return out;
}

kvm_ioapic_state to_kvm(const IoApicState& in) {
  kvm_ioapic_state out{};
  out.base_address = 0xFEC00000;
  out.ioregsel = in.register_select;
  out.id = in.id;
  out.irr = in.irr;
  for (std::size_t i = 0; i < in.redirection.size(); ++i) out.redirtbl[i].bits = in.redirection[i];
  return out;
}

PitChannelState from_kvm(const kvm_pit_channel_state& in) {
  return {.count = in.count,
          .latched_count = in.latched_count,
          .count_latched = in.count_latched,
          .status_latched = in.status_latched,
          .status = in.status,
          .read_state = in.read_state,
          .write_state = in.write_state,
          .write_latch = in.write_latch,
          .rw_mode = in.rw_mode,
          .mode = in.mode,
          .bcd = in.bcd,
          .gate = in.gate,
          .count_load_time_ns = in.count_load_time};
}

kvm_pit_channel_state to_kvm(const PitChannelState& in) {
  kvm_pit_channel_state out{};
  out.count = in.count, out.latched_count = in.latched_count;
  out.count_latched = in.count_latched, out.status_latched = in.status_latched;
  out.status = in.status, out.read_state = in.read_state, out.write_state = in.write_state;
  out.write_latch = in.write_latch, out.rw_mode = in.rw_mode, out.mode = in.mode;
  out.bcd = in.bcd, out.gate = in.gate, out.count_load_time = in.count_load_time_ns;
  return out;
}

}  // namespace reeve::core::accel::kvm
