#include "hypervisor_core/cpu/boot_state.h"

#include "hypervisor_core/accel/flat_segments.h"
#include "hypervisor_core/boot/low_memory.h"

namespace reeve::core::cpu {
namespace {

constexpr std::uint32_t kMiscEnable = 0x1a0, kMtrrDefaultType = 0x2ff;
constexpr std::uint64_t kFastStrings = 1, kMtrrEnabledWriteBack = 1 << 11 | 6;

// The Linux boot protocol wants code at selector 0x10 and data at 0x18; the others take any.
constexpr std::uint16_t kCode = 0x10, kData = 0x18, kTask = 0x20;
constexpr std::uint64_t kPe = 1, kEt = 0x10, kPg = 1ull << 31;
constexpr std::uint64_t kPae = 0x20;
constexpr std::uint64_t kLme = 0x100, kLma = 0x400;

bool write_descriptors(GuestMemory& memory, accel::CodeSize size) {
  return memory.write_le(boot::kGdt, std::uint64_t{0}) &&
         memory.write_le(boot::kGdt + 8, std::uint64_t{0}) &&
         memory.write_le(boot::kGdt + kCode, accel::descriptor_of(accel::flat_code(kCode, size))) &&
         memory.write_le(boot::kGdt + kData, accel::descriptor_of(accel::flat_data(kData))) &&
         memory.write_le(boot::kGdt + kTask, accel::descriptor_of(accel::task_segment(kTask, 0)));
}

}  // namespace

std::vector<accel::Msr> initial_msrs() {
  return {{kMiscEnable, kFastStrings}, {kMtrrDefaultType, kMtrrEnabledWriteBack}};
}

Status enter_image(accel::Vcpu& vcpu, GuestMemory& memory, const boot::Entry& entry) {
  const bool long_mode = entry.mode == boot::EntryMode::Long64;
  const auto size = long_mode ? accel::CodeSize::Bits64 : accel::CodeSize::Bits32;
  if (!write_descriptors(memory, size))
    return Error{Code::ResourceExhausted, "GUEST_MEMORY_TOO_SMALL", "no room for descriptors"};
  auto system = TRY(vcpu.system_registers());
  system.cs = accel::flat_code(kCode, size);
  system.ds = system.es = system.fs = system.gs = system.ss = accel::flat_data(kData);
  system.tr = accel::task_segment(kTask, 0);
  system.gdt = {boot::kGdt, kTask + 7};
  system.idt = {0, 0};
  system.cr0 = kPe | kEt;
  system.cr3 = 0;
  system.cr4 = 0;
  system.efer = 0;
  if (long_mode) {
    system.cr0 |= kPg;
    system.cr3 = boot::kPageTables;
    system.cr4 = kPae;
    system.efer = kLme | kLma;
  }
  TRY(vcpu.set_system_registers(system));
  return vcpu.set_general_registers({.rax = entry.rax,
                                     .rbx = entry.rbx,
                                     .rsi = entry.rsi,
                                     .rsp = boot::kBootStack,
                                     .rip = entry.address,
                                     .rflags = 2});
}

}  // namespace reeve::core::cpu
