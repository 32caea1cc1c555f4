#include "hypervisor_core/sandbox/jail.h"

#include <algorithm>

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "hypervisor_core/sandbox/filter.h"
#include "hypervisor_core/sandbox/landlock.h"
#include "hypervisor_core/sandbox/namespaces.h"

namespace reeve::core::sandbox {
namespace {

constexpr rlim_t kMaxDescriptors = 4096;

Status set_limits() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return errno_error("getrlimit");
  files.rlim_max = std::min(files.rlim_max, kMaxDescriptors);
  files.rlim_cur = files.rlim_max;
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
      setrlimit(RLIMIT_MSGQUEUE, &none) != 0 || setrlimit(RLIMIT_RTPRIO, &none) != 0)
    return errno_error("setrlimit");
  return {};
}

/// glibc carries these to all threads. Leaving root clears their capabilities.
Status become(uid_t user, gid_t group) {
  if (setgroups(0, nullptr) != 0 || setresgid(group, group, group) != 0 ||
      setresuid(user, user, user) != 0)
    return errno_error("changing the user");
  return {};
}

/// What programs run by this process could ever have. Threads made later inherit it.
Status empty_bounding_set() {
  for (int capability = 0; capability <= 63; ++capability)
    if (prctl(PR_CAPBSET_DROP, capability) != 0 && errno != EINVAL)
      return errno_error("PR_CAPBSET_DROP");
  return {};
}

/// Those of a user namespace; leaving root did the rest.
Status drop_capabilities() {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  const __user_cap_data_struct none[2]{};
  if (syscall(SYS_capset, &header, none) != 0) return errno_error("capset");
  return {};
}

/// Ends with the jailed process, never returns.
[[noreturn]] void guard(pid_t child, const JailPlan& plan, const Warden& warden) {
  auto keep = warden.keep;
  std::sort(keep.begin(), keep.end());
  unsigned next = STDERR_FILENO + 1;
  for (const int fd : keep) {
    const auto kept = static_cast<unsigned>(fd);
    if (kept > next) (void)close_range(next, kept - 1, 0);
    next = std::max(next, kept + 1);
  }
  (void)close_range(next, ~0u, 0);
  const bool jailed = (geteuid() != 0 || become(plan.user, plan.group).ok()) &&
                      drop_capabilities().ok() && filter_warden().ok();
  if (!jailed) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (warden.on_end) warden.on_end(status);
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/// The child goes on when the warden says so, and dies with it.
Status fork_off(const JailPlan& plan, const Warden& warden) {
  int gate[2];
  if (pipe2(gate, O_CLOEXEC) != 0) return errno_error("pipe");
  Fd wait(gate[0]), go(gate[1]);
  const pid_t child = fork();
  if (child < 0) return errno_error("fork");
  if (child != 0) {
    const auto told = warden.on_start ? warden.on_start(child) : Status{};
    if (!told.ok()) kill(child, SIGKILL);
    if (::write(go.get(), "", 1) != 1) kill(child, SIGKILL);
    guard(child, plan, warden);
  }
  go.reset();
  char byte = 0;
  if (::read(wait.get(), &byte, 1) != 1)
    return Error{Code::Unavailable, "VMM_GONE", "the process that guards the jail has ended"};
  return {};
}

}  // namespace

std::string Report::text() const {
  std::string held, missing;
  for (const auto& measure : measures_) {
    auto& list = measure.in_force ? held : missing;
    if (!list.empty()) list += ", ";
    list += measure.name;
    if (!measure.in_force) list += " (" + measure.why_not + ")";
  }
  return held + (missing.empty() ? "" : "; missing: " + missing);
}

void close_inherited(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned first = STDERR_FILENO + 1;
  for (const int kept : keep) {
    const auto number = static_cast<unsigned>(kept);
    if (number > first) (void)::close_range(first, number - 1, 0);
    first = std::max(first, number + 1);
  }
  (void)::close_range(first, ~0u, 0);
}

Result<Jail> Jail::begin(const JailPlan& plan, Warden warden) {
  if (geteuid() == 0 && (plan.user == 0 || plan.group == 0))
    return Error{Code::InvalidArgument, "JAIL_USER",
                 "a jail needs a user and a group other than root"};
  Jail jail(plan);
  if (!plan.root.empty()) {
    // The folder itself is opened and not followed: a link in its place leads nowhere.
    jail.folder_ = TRY(open_file(plan.root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (plan.folder == JailPlan::Folder::Share && geteuid() == 0 &&
        (fchown(jail.folder_.get(), 0, plan.group) != 0 || fchmod(jail.folder_.get(), 01770) != 0))
      return errno_error("sharing " + plan.root);
  }
  enter_namespaces(jail.report_);
  TRY(fork_off(plan, warden));
  if (geteuid() == 0 || jail.report_.holds(kUserNamespace)) TRY(empty_bounding_set());
  return jail;
}

Status Jail::give_up_user() {
  if (geteuid() != 0) {
    report_.add(kOwnUser, Error{Code::PermissionDenied, "JAIL_USER",
                                "started as user " + std::to_string(geteuid()) + ", not as root"});
    return {};
  }
  TRY(become(plan_.user, plan_.group));
  report_.add(kOwnUser, {});
  return {};
}

Status Jail::close() {
  if (plan_.root.empty()) {
    auto folder = empty_folder();
    if (folder.ok()) folder_ = std::move(folder).value();
  }
  report_.add(kOwnRoot, folder_ ? change_root(folder_.get())
                                : Status(Error{Code::PermissionDenied, "JAIL_ROOT",
                                               "no mount namespace to put an empty folder in"}));
  report_.add(kLimits, set_limits());
  TRY(give_up_user());
  TRY(drop_capabilities());
  report_.add(kNoCapabilities, {});
  // After the change of user, which clears both.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return errno_error("prctl");
  report_.add(kLandlock, folder_ ? restrict_files(Files::BelowFolder, folder_.get())
                                 : restrict_files(Files::None));
  folder_.reset();
  TRY(filter_process());
  report_.add(kFilter, {});
  return {};
}

Status narrow_thread(ThreadRole role) {
  // The filler may have to leave the exit report.
  Fd folder;
  if (role == ThreadRole::Fill) folder = TRY(open_file(".", O_PATH | O_DIRECTORY));
  const auto restricted =
      folder ? restrict_files(Files::BelowFolder, folder.get()) : restrict_files(Files::None);
  if (!restricted.ok() && restricted.error().reason() != "NO_LANDLOCK") return restricted;
  return filter_thread(role);
}

}  // namespace reeve::core::sandbox
