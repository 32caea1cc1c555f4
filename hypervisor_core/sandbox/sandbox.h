// hypervisor_core/sandbox/sandbox.h - what is left to a process whose guest is hostile.
//
// Order: open everything, then enter_jail() once, then start guest code; threads that run it narrow
// themselves further with filter_thread(). Nothing here can be undone.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

#include "base/status.h"

namespace reeve::core::sandbox {

struct Jail {
  uid_t uid =
      0;  ///< not 0: the process becomes this user, in all its threads, and loses every capability
  gid_t gid = 0;
  std::string root{};  ///< becomes "/" and is given to the user
};

/// Needs root. The process cannot gain rights any more (no_new_privs) and every system call outside
/// the list of what reeve-vmm needs fails with EPERM in all threads: no exec, no ptrace, no mount,
/// no new processes, only UNIX sockets. InvalidArgument/JAIL_USER for uid or gid 0; errors of the
/// system calls.
Status enter_jail(const Jail& jail);

/// For vCPU threads: no files, sockets, io_uring or new threads beyond what is open.
Status filter_vcpu_thread();

}  // namespace reeve::core::sandbox
