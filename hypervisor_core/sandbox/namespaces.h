// hypervisor_core/sandbox/namespaces.h - views of the system that a process has to itself.
// Source: namespaces(7), pivot_root(2).
#pragma once

#include <string>

#include "base/status.h"
#include "hypervisor_core/sandbox/report.h"

namespace reeve::core::sandbox {

/// Puts the process, still of one thread, into namespaces of its own: mount, IPC, host name,
/// network, and its future children into a pid namespace. Whoever is not root makes a user
/// namespace first, in which it stays who it is. What the kernel refuses is in the report.
void enter_namespaces(Report& report);

/// Makes the open folder "/" and unmounts all else, for all threads. Without a mount namespace it
/// only changes the root, which needs root. The working directory is "/" then.
Status change_root(int folder);

/// An empty, read-only folder on a file system of its own. Needs a mount namespace.
Result<Fd> empty_folder();

}  // namespace reeve::core::sandbox
