#include "hypervisor_core/sandbox/sandbox.h"

#include <memory>
#include <span>

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

namespace reeve::core::sandbox {
namespace {

/// What every thread needs: memory, locks, time, signals, and I/O on what is open.
constexpr int kEveryThread[] = {SCMP_SYS(read),          SCMP_SYS(write),
                                SCMP_SYS(ioctl),         SCMP_SYS(futex),
                                SCMP_SYS(mmap),          SCMP_SYS(munmap),
                                SCMP_SYS(mprotect),      SCMP_SYS(mremap),
                                SCMP_SYS(brk),           SCMP_SYS(madvise),
                                SCMP_SYS(rt_sigaction),  SCMP_SYS(rt_sigprocmask),
                                SCMP_SYS(rt_sigreturn),  SCMP_SYS(sigaltstack),
                                SCMP_SYS(tgkill),        SCMP_SYS(gettid),
                                SCMP_SYS(getpid),        SCMP_SYS(sched_yield),
                                SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
                                SCMP_SYS(nanosleep),     SCMP_SYS(exit),
                                SCMP_SYS(exit_group),    SCMP_SYS(restart_syscall),
                                SCMP_SYS(rseq),          SCMP_SYS(set_robust_list),
                                SCMP_SYS(getcpu),        SCMP_SYS(getrandom),
                                SCMP_SYS(membarrier),    SCMP_SYS(close),
                                SCMP_SYS(poll),          SCMP_SYS(ppoll)};

/// What the process needs besides: disks, devices' threads, its control socket, its run directory.
constexpr int kProcess[] = {SCMP_SYS(readv),
                            SCMP_SYS(writev),
                            SCMP_SYS(pread64),
                            SCMP_SYS(pwrite64),
                            SCMP_SYS(preadv),
                            SCMP_SYS(pwritev),
                            SCMP_SYS(preadv2),
                            SCMP_SYS(pwritev2),
                            SCMP_SYS(fstat),
                            SCMP_SYS(newfstatat),
                            SCMP_SYS(statx),
                            SCMP_SYS(lseek),
                            SCMP_SYS(fallocate),
                            SCMP_SYS(ftruncate),
                            SCMP_SYS(fchmod),
                            SCMP_SYS(fsync),
                            SCMP_SYS(fdatasync),
                            SCMP_SYS(sync_file_range),
                            SCMP_SYS(fcntl),
                            SCMP_SYS(flock),
                            SCMP_SYS(dup),
                            SCMP_SYS(epoll_create1),
                            SCMP_SYS(epoll_ctl),
                            SCMP_SYS(epoll_wait),
                            SCMP_SYS(epoll_pwait),
                            SCMP_SYS(eventfd2),
                            SCMP_SYS(timerfd_create),
                            SCMP_SYS(timerfd_settime),
                            SCMP_SYS(timerfd_gettime),
                            SCMP_SYS(io_uring_setup),
                            SCMP_SYS(io_uring_enter),
                            SCMP_SYS(io_uring_register),
                            SCMP_SYS(openat),
                            SCMP_SYS(unlink),
                            SCMP_SYS(unlinkat),
                            SCMP_SYS(rename),
                            SCMP_SYS(renameat),
                            SCMP_SYS(renameat2),
                            SCMP_SYS(accept4),
                            SCMP_SYS(connect),
                            SCMP_SYS(sendto),
                            SCMP_SYS(recvfrom),
                            SCMP_SYS(sendmsg),
                            SCMP_SYS(recvmsg),
                            SCMP_SYS(shutdown),
                            SCMP_SYS(getsockopt),
                            SCMP_SYS(setsockopt),
                            SCMP_SYS(getsockname),
                            SCMP_SYS(arch_prctl),
                            SCMP_SYS(sched_getaffinity),
                            SCMP_SYS(getuid),
                            SCMP_SYS(geteuid),
                            SCMP_SYS(getgid),
                            SCMP_SYS(getegid),
                            SCMP_SYS(sysinfo),
                            SCMP_SYS(uname),
                            SCMP_SYS(set_tid_address),
                            SCMP_SYS(memfd_create)};

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, ReleaseFilter>;

Error filter_error(int error) {
  return errno_error("system call filter", -error);
}

Status allow(void* filter, std::span<const int> calls) {
  for (const int call : calls)
    if (const int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0); error != 0)
      return filter_error(error);
  return {};
}

/// Calls of which only some uses are harmless.
Status allow_in_part(void* filter) {
  const auto add = [filter](int call, scmp_arg_cmp condition) -> Status {
    const int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, condition);
    return error == 0 ? Status{} : Status(filter_error(error));
  };
  // Threads, never processes. clone3 hides its flags from filters: glibc falls back when it is
  // absent.
  TRY(add(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)));
  TRY(add(SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX)));
  TRY(add(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME)));
  TRY(add(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP)));
  TRY(add(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS)));
  TRY(add(SCMP_SYS(seccomp), SCMP_A0(SCMP_CMP_LE, 3)));    // only ever narrows
  TRY(add(SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0)));  // reading limits
  const int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  return error == 0 ? Status{} : Status(filter_error(error));
}

Status filter_process() {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return errno_error("system call filter", ENOMEM);
  TRY(allow(filter.get(), kEveryThread));
  TRY(allow(filter.get(), kProcess));
  TRY(allow_in_part(filter.get()));
  if (const int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1); error != 0)
    return filter_error(error);
  if (const int error = seccomp_load(filter.get()); error != 0) return filter_error(error);
  return {};
}

Status change_root(const Jail& jail) {
  // The folder itself is opened and not followed: a link in its place leads nowhere.
  const Fd folder(open(jail.root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return errno_error("opening " + jail.root);
  if (fchown(folder.get(), jail.uid, jail.gid) != 0) return errno_error("giving away " + jail.root);
  if (fchdir(folder.get()) != 0 || chroot(".") != 0 || chdir("/") != 0)
    return errno_error("changing the root folder");
  return {};
}

}  // namespace

Status enter_jail(const Jail& jail) {
  if (jail.uid == 0 || jail.gid == 0)
    return Error{Code::InvalidArgument, "JAIL_USER",
                 "a jail needs a user and a group other than root"};
  TRY(change_root(jail));
  const rlimit no_core{0, 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) return errno_error("setrlimit");
  // glibc carries these to all threads. Leaving root clears their capabilities.
  if (setgroups(0, nullptr) != 0 || setresgid(jail.gid, jail.gid, jail.gid) != 0 ||
      setresuid(jail.uid, jail.uid, jail.uid) != 0)
    return errno_error("changing the user");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return errno_error("PR_SET_DUMPABLE");
  return filter_process();  // sets no_new_privs first
}

Status filter_vcpu_thread() {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return errno_error("system call filter", ENOMEM);
  TRY(allow(filter.get(), kEveryThread));
  if (const int error = seccomp_load(filter.get()); error != 0) return filter_error(error);
  return {};
}

}  // namespace reeve::core::sandbox
