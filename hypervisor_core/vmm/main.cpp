// reeve-vmm: runs one virtual machine.
#include <cstdio>
#include <span>

#include "hypervisor_core/vmm/error_log.h"
#include "hypervisor_core/vmm/flags.h"
#include "hypervisor_core/vmm/foreground.h"
#include "hypervisor_core/vmm/resident.h"

#ifdef __SANITIZE_ADDRESS__
/// The leak sanitizer would trace this process at its end, which the jail forbids. The tests have
/// it for all code but this folder's.
extern "C" int __lsan_is_turned_off() {
  return 1;
}
#endif

namespace {

int fail(const reeve::Error& error) {
  std::fprintf(stderr, "reeve-vmm: %s: %s%s%s\n", std::string(error.reason()).c_str(),
               error.message().c_str(), error.remedy().empty() ? "" : ". ", error.remedy().c_str());
  return 4;
}

}  // namespace

int main(int count, char** arguments) {
  namespace vmm = reeve::core::vmm;
  vmm::bound_errors();
  const auto flags = vmm::parse_flags(
      std::span<const char* const>(arguments + 1, static_cast<std::size_t>(count - 1)));
  if (!flags.ok() || flags.value().help || count == 1) {
    if (!flags.ok()) std::fprintf(stderr, "reeve-vmm: %s\n", flags.error().message().c_str());
    std::fputs(vmm::usage(), stderr);
    return flags.ok() && flags.value().help ? 0 : 2;
  }
  const vmm::CellOptions cell{
      .jailed = flags.value().jailed, .uid = flags.value().jail_uid, .gid = flags.value().jail_gid};
  if (const auto& run_dir = flags.value().run_dir; !run_dir.empty()) {
    const auto outcome = vmm::run_resident({.run_dir = run_dir,
                                            .cell = cell,
                                            .cgroups = flags.value().cgroups,
                                            .paused = flags.value().paused});
    if (!outcome.ok()) return fail(outcome.error());
    return 0;
  }
  const auto code = vmm::run_in_foreground(flags.value().machine, cell);
  if (code.ok()) return code.value();
  return fail(code.error());
}
