#include "hypervisor_core/vm/register_dump.h"

#include <cinttypes>
#include <cstdio>
#include <initializer_list>
#include <utility>

namespace reeve::core {
namespace {

using Named = std::pair<const char*, std::uint64_t>;

void line(std::string& out, std::initializer_list<Named> values) {
  for (const auto& [name, value] : values) {
    char text[48];
    std::snprintf(text, sizeof text, "%s=%016" PRIx64 " ", name, value);
    out += text;
  }
  out.back() = '\n';
}

void segment(std::string& out, const char* name, const accel::Segment& s) {
  char text[96];
  std::snprintf(text, sizeof text, "%s=%04x base=%016" PRIx64 " limit=%08x type=%x l=%u db=%u\n",
                name, s.selector, s.base, s.limit, s.type, s.long_mode, s.default_big);
  out += text;
}

}  // namespace

std::string register_dump(const accel::GeneralRegisters& g, const accel::SystemRegisters& s) {
  std::string out;
  line(out, {{"rip", g.rip}, {"rsp", g.rsp}, {"rflags", g.rflags}});
  line(out, {{"rax", g.rax}, {"rbx", g.rbx}, {"rcx", g.rcx}, {"rdx", g.rdx}});
  line(out, {{"rsi", g.rsi}, {"rdi", g.rdi}, {"rbp", g.rbp}, {"r8", g.r8}});
  line(out, {{"r9", g.r9}, {"r10", g.r10}, {"r11", g.r11}, {"r12", g.r12}});
  line(out, {{"r13", g.r13}, {"r14", g.r14}, {"r15", g.r15}});
  line(out, {{"cr0", s.cr0}, {"cr2", s.cr2}, {"cr3", s.cr3}, {"cr4", s.cr4}});
  line(out, {{"efer", s.efer}, {"apic", s.apic_base}, {"gdt", s.gdt.base}, {"idt", s.idt.base}});
  segment(out, "cs", s.cs);
  segment(out, "ss", s.ss);
  segment(out, "tr", s.tr);
  return out;
}

}  // namespace reeve::core
