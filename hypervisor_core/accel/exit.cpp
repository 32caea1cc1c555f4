#include "hypervisor_core/accel/accelerator.h"

namespace reeve::core::accel {

std::string_view exit_kind_name(ExitKind kind) {
  switch (kind) {
    case ExitKind::Kicked: return "kicked";
    case ExitKind::Halted: return "halted";
    case ExitKind::Shutdown: return "triple fault";
    case ExitKind::EmulationFailure: return "emulation failure";
    case ExitKind::EntryFailure: return "entry failure";
    case ExitKind::MemoryFault: return "memory fault";
    case ExitKind::InternalError: return "internal error";
  }
  return "unknown";
}

}  // namespace reeve::core::accel
