// hypervisor_core/accel/cpu_state.h - the architectural state of one x86-64 vCPU and of the
// interrupt controllers, as plain values. Nothing here belongs to one accelerator; saved state is
// made of these. Source: Intel SDM volumes 3A (system registers, local APIC) and 82C59A, 82093AA,
// 8254 data sheets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace reeve::core::accel {

struct GeneralRegisters {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0, rflags = 2;

  bool operator==(const GeneralRegisters&) const = default;
};

struct Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;
  std::uint16_t selector = 0;
  std::uint8_t type = 0;  ///< 4 bits
  std::uint8_t present = 0;
  std::uint8_t privilege = 0;     ///< DPL
  std::uint8_t default_big = 0;   ///< D/B
  std::uint8_t code_or_data = 0;  ///< S
  std::uint8_t long_mode = 0;     ///< L
  std::uint8_t granularity = 0;   ///< G
  std::uint8_t available = 0;     ///< AVL
  std::uint8_t unusable = 0;

  bool operator==(const Segment&) const = default;
};

struct DescriptorTable {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;

  bool operator==(const DescriptorTable&) const = default;
};

struct SystemRegisters {
  Segment cs{}, ds{}, es{}, fs{}, gs{}, ss{}, tr{}, ldt{};
  DescriptorTable gdt{}, idt{};
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0, efer = 0, apic_base = 0;
  std::array<std::uint64_t, 4> pending_interrupts{};  ///< bitmap; used without an in-kernel APIC

  bool operator==(const SystemRegisters&) const = default;
};

struct Msr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;

  bool operator==(const Msr&) const = default;
};

struct CpuidLeaf {
  std::uint32_t function = 0, index = 0;
  bool index_matters = false;
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;

  bool operator==(const CpuidLeaf&) const = default;
};

/// What waits to be delivered: exceptions, interrupts, NMIs, SMIs.
struct PendingEvents {
  bool exception_injected = false, exception_pending = false, exception_has_error = false;
  std::uint8_t exception_vector = 0;
  std::uint32_t exception_error = 0;
  bool exception_has_payload = false;
  std::uint64_t exception_payload = 0;
  bool interrupt_injected = false, interrupt_soft = false;
  std::uint8_t interrupt_vector = 0, interrupt_shadow = 0;
  bool nmi_injected = false, nmi_pending = false, nmi_masked = false;
  std::uint32_t sipi_vector = 0;
  bool triple_fault_pending = false;

  bool operator==(const PendingEvents&) const = default;
};

enum class RunState : std::uint8_t { Runnable, WaitingForInit, InitReceived, Halted, SipiReceived };

struct DebugRegisters {
  std::array<std::uint64_t, 4> address{};
  std::uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;

  bool operator==(const DebugRegisters&) const = default;
};

/// Everything one vCPU carries from one process to another.
struct CpuState {
  GeneralRegisters general{};
  SystemRegisters system{};
  std::vector<Msr> msrs{};
  std::vector<std::byte> xsave{};  ///< standard-format XSAVE area of the guest
  std::uint64_t xcr0 = 1;
  DebugRegisters debug{};
  PendingEvents events{};
  RunState run_state = RunState::Runnable;
  std::array<std::byte, 1024> local_apic{};  ///< register page, 0xFEE00000 + offset
  std::uint32_t tsc_khz = 0;                 ///< 0 = unknown
};

/// One 8259A.
struct PicState {
  std::uint8_t last_irr = 0, irr = 0, imr = 0, isr = 0, priority_add = 0, irq_base = 0;
  std::uint8_t read_reg_select = 0, poll = 0, special_mask = 0, init_state = 0, auto_eoi = 0;
  std::uint8_t rotate_on_auto_eoi = 0, special_fully_nested = 0, init4 = 0, elcr = 0, elcr_mask = 0;

  bool operator==(const PicState&) const = default;
};

struct IoApicState {
  std::uint32_t register_select = 0, id = 0, irr = 0;
  std::array<std::uint64_t, 24> redirection{};

  bool operator==(const IoApicState&) const = default;
};

/// One channel of the 8254.
struct PitChannelState {
  std::uint32_t count = 0;
  std::uint16_t latched_count = 0;
  std::uint8_t count_latched = 0, status_latched = 0, status = 0, read_state = 0, write_state = 0;
  std::uint8_t write_latch = 0, rw_mode = 0, mode = 0, bcd = 0, gate = 0;
  std::int64_t count_load_time_ns = 0;

  bool operator==(const PitChannelState&) const = default;
};

struct InterruptControllerState {
  PicState pic_master{}, pic_slave{};
  IoApicState io_apic{};
  std::array<PitChannelState, 3> pit{};
  std::uint32_t pit_flags = 0;

  bool operator==(const InterruptControllerState&) const = default;
};

}  // namespace reeve::core::accel
