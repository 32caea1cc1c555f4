// hypervisor_core/control/run_dir.h - reads what a machine's process left in its run directory.
//
// That process may have been taken over by its guest, and makes files there as it likes: a link to
// elsewhere, a pipe on which a reader waits for ever, a file without end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include <sys/types.h>

#include "base/status.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::control {

/// A plain file of at most `limit` bytes. PermissionDenied/RUN_DIR_FILE when it is anything else;
/// ResourceExhausted/FILE_TOO_LARGE; errors of open(2).
Result<std::string> read_left_file(const std::filesystem::path& path, std::size_t limit);

/// Why the machine ended (kExitFile), its texts made passable (control/said.h). Errors of
/// read_left_file(), PermissionDenied/RUN_DIR_FILE when it is not a report.
Result<v1::ExitReport> read_exit_report(const std::filesystem::path& run_dir);

/// Which process has the run directory (kPidFile): a number that may have gone to another one is
/// told by the time its process began (base/subprocess.h).
struct Claim {
  pid_t pid = 0;  ///< over 1
  std::uint64_t start_ticks = 0;
};
/// Errors of read_left_file(), PermissionDenied/RUN_DIR_FILE when it names no process.
Result<Claim> read_claim(const std::filesystem::path& run_dir);

}  // namespace reeve::core::control
