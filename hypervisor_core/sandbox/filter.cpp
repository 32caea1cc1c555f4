#include "hypervisor_core/sandbox/filter.h"

#include <cerrno>
#include <memory>
#include <span>

#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

namespace reeve::core::sandbox {
namespace {

/// What every thread needs: memory, locks, time, signals, and I/O on what is open.
constexpr int kEveryThread[] = {
    SCMP_SYS(read),         SCMP_SYS(write),           SCMP_SYS(futex),
    SCMP_SYS(munmap),       SCMP_SYS(mremap),          SCMP_SYS(brk),
    SCMP_SYS(madvise),      SCMP_SYS(rt_sigaction),    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),     SCMP_SYS(gettid),
    SCMP_SYS(getpid),       SCMP_SYS(sched_yield),     SCMP_SYS(clock_gettime),
    SCMP_SYS(nanosleep),    SCMP_SYS(clock_nanosleep), SCMP_SYS(exit),
    SCMP_SYS(exit_group),   SCMP_SYS(restart_syscall), SCMP_SYS(rseq),
    SCMP_SYS(getcpu),       SCMP_SYS(set_robust_list), SCMP_SYS(getrandom),
    SCMP_SYS(membarrier),   SCMP_SYS(close),           SCMP_SYS(poll),
    SCMP_SYS(ppoll)};
#ifdef __SANITIZE_ADDRESS__
/// Only in builds for tests: the sanitizers' runtime writes memory to a pipe to learn whether it is
/// there, and takes a refusal for a bad object.
constexpr int kSanitizer[] = {SCMP_SYS(pipe), SCMP_SYS(pipe2)};
#else
constexpr std::span<const int> kSanitizer;
#endif
/// Waiting for queues and timers.
constexpr int kWorker[] = {SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl),
                           SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime)};
/// Open files. io_uring_enter reaches rings made before the jail, which are restricted to the same.
constexpr int kFileIo[] = {
    SCMP_SYS(readv),  SCMP_SYS(writev),    SCMP_SYS(pread64),         SCMP_SYS(pwrite64),
    SCMP_SYS(preadv), SCMP_SYS(pwritev),   SCMP_SYS(preadv2),         SCMP_SYS(pwritev2),
    SCMP_SYS(fstat),  SCMP_SYS(lseek),     SCMP_SYS(fallocate),       SCMP_SYS(ftruncate),
    SCMP_SYS(fsync),  SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(io_uring_enter)};
/// The balloon's.
constexpr int kGiveUpMemory[] = {SCMP_SYS(fallocate)};
/// Open sockets and tap devices.
constexpr int kPacketIo[] = {SCMP_SYS(readv),   SCMP_SYS(writev),   SCMP_SYS(sendto),
                             SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg)};
/// UNIX sockets by name and the callers that come to ours. Which families: allow_sockets().
constexpr int kSockets[] = {SCMP_SYS(connect),     SCMP_SYS(accept4),    SCMP_SYS(sendto),
                            SCMP_SYS(sendmsg),     SCMP_SYS(recvfrom),   SCMP_SYS(recvmsg),
                            SCMP_SYS(shutdown),    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
                            SCMP_SYS(getsockname), SCMP_SYS(fcntl)};
/// Files by name, below the root folder.
constexpr int kNames[] = {SCMP_SYS(openat),   SCMP_SYS(newfstatat), SCMP_SYS(statx),
                          SCMP_SYS(fstat),    SCMP_SYS(fchmod),     SCMP_SYS(rename),
                          SCMP_SYS(renameat), SCMP_SYS(renameat2),  SCMP_SYS(unlink),
                          SCMP_SYS(unlinkat), SCMP_SYS(fsync),      SCMP_SYS(fcntl),
                          SCMP_SYS(lseek),    SCMP_SYS(getdents64), SCMP_SYS(pread64),
                          SCMP_SYS(pwrite64), SCMP_SYS(ftruncate)};
/// Making threads and what they wait for, and narrowing them.
constexpr int kMakeThreads[] = {SCMP_SYS(epoll_create1),     SCMP_SYS(eventfd2),
                                SCMP_SYS(timerfd_create),    SCMP_SYS(set_tid_address),
                                SCMP_SYS(sched_getaffinity), SCMP_SYS(landlock_create_ruleset),
                                SCMP_SYS(landlock_add_rule), SCMP_SYS(landlock_restrict_self)};
/// What the C library asks once.
constexpr int kFacts[] = {SCMP_SYS(getuid),  SCMP_SYS(geteuid), SCMP_SYS(getgid),
                          SCMP_SYS(getegid), SCMP_SYS(sysinfo), SCMP_SYS(uname)};

constexpr std::uint32_t kKvmIoctls = 0xae00, kUffdIoctls = UFFDIO << 8, kIoctlType = 0xff00;
// <linux/kvm.h> belongs to accel/kvm alone.
constexpr std::uint32_t kKvmRun = 0xae80, kKvmIrqLine = 0x4008ae61, kKvmSetGsiRouting = 0x4008ae6a,
                        kKvmIrqFd = 0x4020ae76, kKvmIoEventFd = 0x4040ae79,
                        kKvmResetDirtyRings = 0xaec7;
// <linux/if_tun.h> belongs to hypervisor_core/net alone.
constexpr std::uint32_t kTunSetOffload = 0x400454d0, kTunSetQueue = 0x400454d9;

/// A filter under construction; the first error stays.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM))) {
    if (context_ == nullptr) error_ = -ENOMEM;
  }
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  Filter& allow(std::span<const int> calls) {
    for (const int call : calls) add(SCMP_ACT_ALLOW, call, {});
    return *this;
  }
  Filter& allow_if(int call, scmp_arg_cmp condition) {
    return add(SCMP_ACT_ALLOW, call, std::span(&condition, 1));
  }
  Filter& absent(int call) { return add(SCMP_ACT_ERRNO(ENOSYS), call, {}); }
  Filter& first(int call) {
    if (error_ == 0) error_ = seccomp_syscall_priority(context_, call, 255);
    return *this;
  }
  enum class Reach { Thread, Process };
  Status load(Reach reach) {
    if (error_ == 0 && reach == Reach::Process)
      error_ = seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1);
    if (error_ == 0) error_ = seccomp_load(context_);
    if (error_ == 0) return {};
    return errno_error("system call filter", -error_);
  }

 private:
  Filter& add(std::uint32_t action, int call, std::span<const scmp_arg_cmp> conditions) {
    if (error_ == 0)
      error_ = seccomp_rule_add_array(context_, action, call,
                                      static_cast<unsigned>(conditions.size()), conditions.data());
    if (error_ == -EEXIST) error_ = 0;  // lists overlap
    return *this;
  }

  scmp_filter_ctx context_;
  int error_ = 0;
};

void allow_every_thread(Filter& filter) {
  filter.allow(kEveryThread)
      .allow(kSanitizer)
      .allow_if(SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))
      .allow_if(SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))
      .allow_if(SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid())))
      .first(SCMP_SYS(write))
      .first(SCMP_SYS(read));
}

void allow_ioctls_of(Filter& filter, std::uint32_t type) {
  filter.allow_if(SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, kIoctlType, type));
}

void allow_ioctl(Filter& filter, std::uint32_t request) {
  filter.allow_if(SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, request));
}

/// A message gets its route when it is raised first, whoever raises it.
void allow_interrupts(Filter& filter) {
  constexpr int kMakeEvent[] = {SCMP_SYS(eventfd2)};
  filter.allow(kMakeEvent);
  allow_ioctl(filter, kKvmSetGsiRouting);
  allow_ioctl(filter, kKvmIrqFd);
}

void allow_tap(Filter& filter) {
  allow_ioctl(filter, kTunSetOffload);
  allow_ioctl(filter, kTunSetQueue);
}

void allow_sockets(Filter& filter) {
  filter.allow(kSockets).allow_if(SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
}

void allow_threads(Filter& filter) {
  // Threads, never processes. clone3 hides its flags from filters: glibc falls back when it is
  // absent.
  filter.allow(kMakeThreads)
      .allow_if(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
      .absent(SCMP_SYS(clone3))
      .allow_if(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME))
      .allow_if(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP))
      .allow_if(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS))
      .allow_if(SCMP_SYS(seccomp), SCMP_A0(SCMP_CMP_LE, 3));  // only ever narrows
}

void allow_workers(Filter& filter) {
  filter.allow(kWorker).allow(kFileIo).allow(kPacketIo);
  allow_sockets(filter);
  allow_tap(filter);
}

}  // namespace

Status filter_process() {
  Filter filter;
  allow_every_thread(filter);
  allow_workers(filter);
  allow_threads(filter);
  allow_ioctls_of(filter, kKvmIoctls);
  allow_ioctls_of(filter, kUffdIoctls);
  allow_ioctl(filter, BLKGETSIZE64);
  filter.allow(kNames).allow(kFacts).allow_if(SCMP_SYS(prlimit64),
                                              SCMP_A2(SCMP_CMP_EQ, 0));  // reading limits
  return filter.load(Filter::Reach::Process);
}

Status filter_thread(ThreadRole role) {
  Filter filter;
  allow_every_thread(filter);
  switch (role) {
    case ThreadRole::Vcpu:
      allow_interrupts(filter);
      allow_ioctl(filter, kKvmRun);
      allow_ioctl(filter, kKvmIrqLine);
      allow_ioctl(filter, kKvmIoEventFd);
      allow_ioctl(filter, kKvmResetDirtyRings);
      filter.first(SCMP_SYS(ioctl));
      break;
    case ThreadRole::Disk:
      allow_interrupts(filter);
      filter.allow(kWorker).allow(kFileIo);
      break;
    case ThreadRole::Network:
      allow_interrupts(filter);
      allow_tap(filter);
      filter.allow(kWorker).allow(kPacketIo);
      break;
    case ThreadRole::Socket:
      allow_interrupts(filter);
      allow_sockets(filter);
      filter.allow(kWorker);
      break;
    case ThreadRole::Device:
      allow_interrupts(filter);
      filter.allow(kWorker).allow(kGiveUpMemory);
      break;
    case ThreadRole::Control:
      allow_workers(filter);
      allow_threads(filter);
      allow_ioctls_of(filter, kKvmIoctls);
      break;
    case ThreadRole::Events:
      filter.allow(kFileIo);
      allow_ioctls_of(filter, kKvmIoctls);
      break;
    case ThreadRole::Fill:
      filter.allow(kNames);
      allow_ioctls_of(filter, kUffdIoctls);
      break;
  }
  return filter.load(Filter::Reach::Thread);
}

Status filter_warden() {
  constexpr int kWait[] = {SCMP_SYS(wait4), SCMP_SYS(waitid)};
  Filter filter;
  allow_every_thread(filter);
  filter.allow(kWait).allow(kNames);
  return filter.load(Filter::Reach::Process);
}

}  // namespace reeve::core::sandbox
