#include "hypervisor_core/vm/save_convert.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

namespace reeve::core {
namespace {

using accel::CpuidLeaf;
using accel::CpuState;
using accel::InterruptControllerState;
using accel::PendingEvents;
using accel::PicState;
using accel::RunState;
using accel::Segment;

constexpr int kGeneral = 18, kSegments = 8, kTables = 4, kControl = 11, kDebug = 6;
constexpr std::size_t kMaxXsave = 16384;
constexpr int kMaxLeaves = 256;  ///< of CPUID, per vCPU; KVM's own limit

/// The order of saved general registers.
auto general_list(auto& g) {
  return std::array{&g.rax, &g.rbx, &g.rcx, &g.rdx, &g.rsi, &g.rdi, &g.rsp, &g.rbp, &g.r8,
                    &g.r9,  &g.r10, &g.r11, &g.r12, &g.r13, &g.r14, &g.r15, &g.rip, &g.rflags};
}
auto segment_list(auto& s) {
  return std::array{&s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss, &s.tr, &s.ldt};
}
auto control_list(auto& s) {
  return std::array{&s.cr0,
                    &s.cr2,
                    &s.cr3,
                    &s.cr4,
                    &s.cr8,
                    &s.efer,
                    &s.apic_base,
                    &s.pending_interrupts[0],
                    &s.pending_interrupts[1],
                    &s.pending_interrupts[2],
                    &s.pending_interrupts[3]};
}
auto pit_list(auto& c) {
  return std::array{&c.count_latched, &c.status_latched, &c.status, &c.read_state, &c.write_state,
                    &c.write_latch,   &c.rw_mode,        &c.mode,   &c.bcd,        &c.gate};
}

std::uint32_t rights_of(const Segment& s) {
  const auto bit = [](std::uint8_t value, unsigned at) {
    return static_cast<std::uint32_t>(value & 1) << at;
  };
  return (s.type & 0xfu) | bit(s.code_or_data, 4) | (s.privilege & 3u) << 5 | bit(s.present, 7) |
         bit(s.available, 8) | bit(s.long_mode, 9) | bit(s.default_big, 10) |
         bit(s.granularity, 11) | bit(s.unusable, 12);
}

Segment segment_of(const v1::SavedSegment& in) {
  const std::uint32_t r = in.rights();
  const auto bit = [r](unsigned at) { return static_cast<std::uint8_t>(r >> at & 1); };
  return {.base = in.base(),
          .limit = in.limit(),
          .selector = static_cast<std::uint16_t>(in.selector()),
          .type = static_cast<std::uint8_t>(r & 0xf),
          .present = bit(7),
          .privilege = static_cast<std::uint8_t>(r >> 5 & 3),
          .default_big = bit(10),
          .code_or_data = bit(4),
          .long_mode = bit(9),
          .granularity = bit(11),
          .available = bit(8),
          .unusable = bit(12)};
}

void save_events(const PendingEvents& e, v1::SavedVcpu& out) {
  const bool flags[] = {e.exception_injected, e.exception_pending, e.exception_has_error,
                        e.interrupt_injected, e.interrupt_soft,    e.nmi_injected,
                        e.nmi_pending,        e.nmi_masked};
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < std::size(flags); ++i) bits |= std::uint32_t{flags[i]} << i;
  out.set_event_flags(bits);
  out.set_exception_vector(e.exception_vector);
  out.set_exception_error(e.exception_error);
  out.set_interrupt_vector(e.interrupt_vector);
  out.set_interrupt_shadow(e.interrupt_shadow);
  out.set_sipi_vector(e.sipi_vector);
}

PendingEvents events_of(const v1::SavedVcpu& in) {
  const auto bit = [&](unsigned at) { return (in.event_flags() >> at & 1) != 0; };
  return {.exception_injected = bit(0),
          .exception_pending = bit(1),
          .exception_has_error = bit(2),
          .exception_vector = static_cast<std::uint8_t>(in.exception_vector()),
          .exception_error = in.exception_error(),
          .interrupt_injected = bit(3),
          .interrupt_soft = bit(4),
          .interrupt_vector = static_cast<std::uint8_t>(in.interrupt_vector()),
          .interrupt_shadow = static_cast<std::uint8_t>(in.interrupt_shadow()),
          .nmi_injected = bit(5),
          .nmi_pending = bit(6),
          .nmi_masked = bit(7),
          .sipi_vector = in.sipi_vector()};
}

Error bad(const char* what) {
  return Error{Code::InvalidArgument, "STATE_FORMAT", std::string("saved state: bad ") + what};
}

std::string bytes_of(const PicState& pic) {
  static_assert(sizeof pic == 16);
  return std::string(reinterpret_cast<const char*>(&pic), sizeof pic);
}

Result<PicState> pic_of(const std::string& bytes) {
  PicState pic;
  if (bytes.size() != sizeof pic) return bad("interrupt controller");
  std::memcpy(&pic, bytes.data(), sizeof pic);
  return pic;
}

}  // namespace

void to_saved(const CpuState& in, v1::SavedVcpu& out) {
  for (const auto* value : general_list(in.general)) out.add_general(*value);
  for (const auto* segment : segment_list(in.system)) {
    auto& saved = *out.add_segments();
    saved.set_base(segment->base);
    saved.set_limit(segment->limit);
    saved.set_selector(segment->selector);
    saved.set_rights(rights_of(*segment));
  }
  for (const auto& table : {in.system.gdt, in.system.idt}) {
    out.add_tables(table.base);
    out.add_tables(table.limit);
  }
  for (const auto* value : control_list(in.system)) out.add_control(*value);
  for (const auto& msr : in.msrs) {
    auto& saved = *out.add_msrs();
    saved.set_index(msr.index);
    saved.set_value(msr.value);
  }
  out.set_xsave(in.xsave.data(), in.xsave.size());
  out.set_xcr0(in.xcr0);
  for (const auto value : in.debug.address) out.add_debug(value);
  out.add_debug(in.debug.dr6);
  out.add_debug(in.debug.dr7);
  out.set_local_apic(in.local_apic.data(), in.local_apic.size());
  out.set_run_state(static_cast<std::uint32_t>(in.run_state));
  out.set_tsc_khz(in.tsc_khz);
  save_events(in.events, out);
}

Result<CpuState> from_saved(const v1::SavedVcpu& in) {
  if (in.general_size() != kGeneral || in.segments_size() != kSegments ||
      in.tables_size() != kTables || in.control_size() != kControl || in.debug_size() != kDebug)
    return bad("processor registers");
  CpuState out;
  if (in.local_apic().size() != out.local_apic.size() || in.xsave().size() > kMaxXsave ||
      in.run_state() > static_cast<std::uint32_t>(RunState::SipiReceived))
    return bad("processor state");
  int i = 0;
  for (auto* value : general_list(out.general)) *value = in.general(i++);
  i = 0;
  for (auto* segment : segment_list(out.system)) *segment = segment_of(in.segments(i++));
  out.system.gdt = {in.tables(0), static_cast<std::uint16_t>(in.tables(1))};
  out.system.idt = {in.tables(2), static_cast<std::uint16_t>(in.tables(3))};
  i = 0;
  for (auto* value : control_list(out.system)) *value = in.control(i++);
  for (const auto& msr : in.msrs()) out.msrs.push_back({msr.index(), msr.value()});
  const auto xsave = std::as_bytes(std::span(in.xsave()));
  out.xsave.assign(xsave.begin(), xsave.end());
  out.xcr0 = in.xcr0();
  for (int d = 0; d < 4; ++d) out.debug.address[static_cast<std::size_t>(d)] = in.debug(d);
  out.debug.dr6 = in.debug(4);
  out.debug.dr7 = in.debug(5);
  std::memcpy(out.local_apic.data(), in.local_apic().data(), out.local_apic.size());
  out.run_state = static_cast<RunState>(in.run_state());
  out.tsc_khz = in.tsc_khz();
  out.events = events_of(in);
  return out;
}

void to_saved(const InterruptControllerState& in, v1::SavedInterrupts& out) {
  out.set_pic_master(bytes_of(in.pic_master));
  out.set_pic_slave(bytes_of(in.pic_slave));
  for (const auto entry : in.io_apic.redirection) out.add_redirection(entry);
  for (const auto value : {in.io_apic.register_select, in.io_apic.id, in.io_apic.irr})
    out.add_io_apic(value);
  for (const auto& channel : in.pit) {
    auto& saved = *out.add_pit();
    saved.set_count(channel.count);
    saved.add_registers(channel.latched_count);
    for (const auto* value : pit_list(channel)) saved.add_registers(*value);
    saved.set_count_load_time_ns(channel.count_load_time_ns);
  }
  out.set_pit_flags(in.pit_flags);
}

Result<InterruptControllerState> from_saved(const v1::SavedInterrupts& in) {
  InterruptControllerState out;
  if (in.redirection_size() != 24 || in.io_apic_size() != 3 || in.pit_size() != 3)
    return bad("interrupt controllers");
  out.pic_master = TRY(pic_of(in.pic_master()));
  out.pic_slave = TRY(pic_of(in.pic_slave()));
  std::copy(in.redirection().begin(), in.redirection().end(), out.io_apic.redirection.begin());
  out.io_apic.register_select = in.io_apic(0);
  out.io_apic.id = in.io_apic(1);
  out.io_apic.irr = in.io_apic(2);
  for (int i = 0; i < 3; ++i) {
    const auto& saved = in.pit(i);
    auto& channel = out.pit[static_cast<std::size_t>(i)];
    if (saved.registers_size() != 11) return bad("timer");
    channel.count = saved.count();
    channel.latched_count = static_cast<std::uint16_t>(saved.registers(0));
    int r = 1;
    for (auto* value : pit_list(channel)) *value = static_cast<std::uint8_t>(saved.registers(r++));
    channel.count_load_time_ns = saved.count_load_time_ns();
  }
  out.pit_flags = in.pit_flags();
  return out;
}

void to_saved(std::span<const CpuidLeaf> in, v1::SavedCpuid& out) {
  for (const auto& leaf : in) {
    auto& saved = *out.add_leaves();
    saved.set_function(leaf.function);
    saved.set_index(leaf.index);
    saved.set_index_matters(leaf.index_matters);
    saved.set_eax(leaf.eax);
    saved.set_ebx(leaf.ebx);
    saved.set_ecx(leaf.ecx);
    saved.set_edx(leaf.edx);
  }
}

Result<std::vector<CpuidLeaf>> from_saved(const v1::SavedCpuid& in) {
  if (in.leaves_size() == 0 || in.leaves_size() > kMaxLeaves)
    return Error{Code::InvalidArgument, "STATE_FORMAT",
                 "saved state: " + std::to_string(in.leaves_size()) +
                     " CPUID leaves of a vCPU: 1 to " + std::to_string(kMaxLeaves) +
                     " are possible"};
  std::vector<CpuidLeaf> out;
  for (const auto& leaf : in.leaves())
    out.push_back({.function = leaf.function(),
                   .index = leaf.index(),
                   .index_matters = leaf.index_matters(),
                   .eax = leaf.eax(),
                   .ebx = leaf.ebx(),
                   .ecx = leaf.ecx(),
                   .edx = leaf.edx()});
  return out;
}

}  // namespace reeve::core
