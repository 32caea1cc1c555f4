// hypervisor_core/control/run_dir.h - reads what a machine's process left in its run directory.
//
// That process may have been taken over by its guest, and makes files there as it likes: a link to
// elsewhere, a pipe on which a reader waits for ever, a file without end.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "base/status.h"

namespace reeve::core::control {

/// A plain file of at most `limit` bytes. PermissionDenied/RUN_DIR_FILE when it is anything else;
/// ResourceExhausted/FILE_TOO_LARGE; errors of open(2).
Result<std::string> read_left_file(const std::filesystem::path& path, std::size_t limit);

}  // namespace reeve::core::control
