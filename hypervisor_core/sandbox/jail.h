// hypervisor_core/sandbox/jail.h - what is left to a process whose guest is hostile.
//
//   auto jail = TRY(Jail::begin(plan, warden));   // one thread, only what needs the host's network
//                                                 // is open
//   ... open files, make the machine and its threads ...
//   TRY(jail.close());                            // before guest code: rights are gone for good
//   ... every thread calls narrow_thread() before it touches what the guest says ...
//
// begin() leaves two processes: the one that goes on, alone in its namespaces, and its warden, the
// process that was there before, which waits for it outside with no rights either. Nothing here
// can be undone. What the host refuses is in the report, never silent; without a user of its own
// (for root) or the system call filters there is no jail and close() fails.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/fd.h"
#include "base/status.h"
#include "hypervisor_core/sandbox/report.h"
#include "hypervisor_core/sandbox/role.h"

namespace reeve::core::sandbox {

struct JailPlan {
  /// What a process of root becomes, in all its threads; not 0. Ignored when it is not root.
  uid_t user = 0;
  gid_t group = 0;
  /// Becomes "/"; not followed when it is a link (CVE-2026-1386). Empty: an empty folder.
  std::string root{};
  /// Share lets the group make files in the root folder, and remove none but its own (mode 1770).
  enum class Folder : std::uint8_t { Leave, Share } folder = Folder::Leave;
};

/// The duties of the process that stays outside.
struct Warden {
  /// Told the jailed process before that goes on.
  std::function<Status(pid_t)> on_start{};
  /// Told how it ended, see waitpid(2).
  std::function<void(int status)> on_end{};
  /// Descriptors it keeps besides standard error.
  std::vector<int> keep{};
};

class Jail {
 public:
  /// Returns in the jailed
  /// process only; the warden ends with its exit code, or 128 + signal.
  /// InvalidArgument/JAIL_USER; errors of fork and of the root folder.
  static Result<Jail> begin(const JailPlan& plan, Warden warden);

  /// Errors of what cannot be missing; see above.
  Status close();

  const Report& report() const { return report_; }
  /// What `path`, a folder, is called from now on.
  std::string inside(const std::string& path) const {
    return report_.holds(kOwnRoot) && path == plan_.root ? "/" : path;
  }

 private:
  explicit Jail(JailPlan plan) : plan_(std::move(plan)) {}
  Status give_up_user();

  JailPlan plan_;
  Report report_;
  Fd folder_;
};

/// Descriptors above standard error that nobody meant to pass on, but for `keep`. First of all in a
/// process.
void close_inherited(std::vector<int> keep = {});

/// For every thread but the first, in a closed jail.
Status narrow_thread(ThreadRole role);

}  // namespace reeve::core::sandbox
