// hypervisor_core/sandbox/filter.h - which system calls a thread may make (seccomp).
//
// A call outside the list fails with EPERM. Filters add up and cannot be taken back: the process
// has one, which is the sum of what all roles need, and each thread another one of its own. The
// only user of libseccomp.
#pragma once

#include "base/status.h"
#include "hypervisor_core/sandbox/role.h"

namespace reeve::core::sandbox {

/// All threads of the process, those to come too. Sets no_new_privs.
Status filter_process();
/// The calling thread and those it makes.
Status filter_thread(ThreadRole role);
/// A process that only waits for its child and writes one file.
Status filter_warden();

}  // namespace reeve::core::sandbox
