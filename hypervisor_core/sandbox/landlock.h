// hypervisor_core/sandbox/landlock.h - which files a thread may name, whatever its user may.
// Source: Documentation/userspace-api/landlock.rst.
#pragma once

#include "base/status.h"

namespace reeve::core::sandbox {

/// What stays: nothing at all, or reading, writing, making and removing plain files below a folder.
enum class Files : std::uint8_t { None, BelowFolder };

/// The calling thread and those it makes, for ever. Nothing can be executed, no TCP port and no
/// abstract socket reached. Needs no_new_privs. Unimplemented/NO_LANDLOCK when the kernel has none.
Status restrict_files(Files files, int folder = -1);

}  // namespace reeve::core::sandbox
