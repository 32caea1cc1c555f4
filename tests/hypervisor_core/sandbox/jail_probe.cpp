// tests/hypervisor_core/sandbox/jail_probe.cpp - a program that wants out of its jail.
//
//   core_jail_probe ROOT USER SOCKET ABSTRACT [--drop | --free NAME...]
//
// enters the jail with ROOT as its root folder, as USER when it is root, and tries everything below
// on the first thread and on one thread of each role. SOCKET and ABSTRACT are listening sockets
// outside. A line "WORKED thread: what" for each thing that should have failed and did not,
// "FAILED" for what must work and did not. --drop gives up root first. Ends with 0 when there is
// neither.
//
// --free is the control: no jail is entered, and the attempts of those names - they must be ones
// that hurt nobody - and a vCPU thread's ioctls are tried all the same, with the same report.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/tiocl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor_core/accel/kvm/abi.h"
#include "hypervisor_core/block/async_disk.h"
#include "hypervisor_core/block/raw_disk.h"
#include "hypervisor_core/sandbox/jail.h"

#ifdef __SANITIZE_ADDRESS__
/// The leak sanitizer would trace this process at its end, which the jail forbids.
extern "C" int __lsan_is_turned_off() {
  return 1;
}
#endif

namespace {

using namespace reeve;
using namespace reeve::core;

std::string outside_socket, abstract_socket;
int surprises = 0;

struct Attempt {
  const char* what;
  bool (*works)();
};

bool connects(const std::string& name, bool abstract) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  if (!socket) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + (abstract ? 1 : 0), sizeof address.sun_path - 2);
  const auto length = static_cast<socklen_t>(
      abstract ? offsetof(sockaddr_un, sun_path) + 1 + name.size() : sizeof address);
  return connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0;
}

bool opens(const char* path, int flags) {
  return Fd(open(path, flags, 0600)).get() >= 0;
}

template <class... Arguments>
bool call(long number, Arguments... arguments) {
  return syscall(number, arguments...) >= 0;
}

/// True in the parent when there was a child.
bool forks() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  if (child > 0) waitpid(child, nullptr, 0);
  return child > 0;
}

bool runs_memory() {
  const Fd file(memfd_create("program", 0));
  char* const arguments[] = {nullptr};
  if (!file) return false;
  return fexecve(file.get(), arguments, arguments) == 0 || errno == ENOEXEC;
}

bool executes(int protection) {
  void* page = mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  munmap(page, 4096);
  return true;
}

/// Must fail on every thread.
const Attempt kNever[] = {
    {"open /etc/passwd", [] { return opens("/etc/passwd", O_RDONLY); }},
    {"open ../../../../etc/passwd", [] { return opens("../../../../etc/passwd", O_RDONLY); }},
    {"open /proc/self/mem", [] { return opens("/proc/self/mem", O_RDWR); }},
    {"open /dev/kvm", [] { return opens("/dev/kvm", O_RDWR); }},
    {"open a descriptor's folder above",
     [] {
       for (int fd = 0; fd < 64; ++fd)
         if (openat(fd, "../../../etc/passwd", O_RDONLY) >= 0) return true;
       errno = EPERM;
       return false;
     }},
    {"connect to a UNIX socket outside", [] { return connects(outside_socket, false); }},
    {"connect to an abstract socket outside", [] { return connects(abstract_socket, true); }},
    {"TCP socket", [] { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }},
    {"netlink socket", [] { return socket(AF_NETLINK, SOCK_RAW, 0) >= 0; }},
    {"packet socket", [] { return socket(AF_PACKET, SOCK_RAW, 0) >= 0; }},
    {"vsock socket", [] { return socket(AF_VSOCK, SOCK_STREAM, 0) >= 0; }},
    {"exec /bin/true",
     [] {
       char* const arguments[] = {nullptr};
       return execv("/bin/true", arguments) == 0;
     }},
    {"exec from memory", runs_memory},
    {"fork", forks},
    {"new user namespace", [] { return unshare(CLONE_NEWUSER) == 0; }},
    {"join a namespace", [] { return call(SYS_setns, 0, 0); }},
    {"clone3", [] { return call(SYS_clone3, nullptr, 0L); }},
    {"ptrace", [] { return ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr) == 0; }},
    {"read another process",
     [] {
       char byte = 0;
       const iovec here{&byte, 1}, there{&byte, 1};
       return process_vm_readv(getppid(), &here, 1, &there, 1, 0) == 1;
     }},
    {"signal the parent", [] { return kill(getppid(), 0) == 0; }},
    {"signal everybody", [] { return kill(-1, 0) == 0; }},
    {"signal a thread elsewhere", [] { return call(SYS_tgkill, 2, 2, 0); }},
    {"pidfd", [] { return call(SYS_pidfd_open, getpid(), 0); }},
    {"mount", [] { return mount("none", "/", "tmpfs", 0, nullptr) == 0; }},
    {"open_tree", [] { return call(SYS_open_tree, AT_FDCWD, "/", 0); }},
    {"umount", [] { return umount2("/", MNT_DETACH) == 0; }},
    {"pivot_root", [] { return call(SYS_pivot_root, ".", "."); }},
    {"chroot", [] { return chroot("/") == 0; }},
    {"mknod", [] { return mknod("/device", S_IFCHR | 0600, 0x103) == 0; }},
    {"mkdir", [] { return mkdir("/folder", 0700) == 0; }},
    {"symlink", [] { return symlink("/etc/passwd", "/link") == 0; }},
    {"hard link", [] { return link("/inside", "/other") == 0; }},
    {"become root", [] { return setresuid(0, 0, 0) == 0; }},
    {"change groups", [] { return setgroups(0, nullptr) == 0; }},
    {"open by handle", [] { return call(SYS_open_by_handle_at, 0, nullptr, 0); }},
    {"load a module", [] { return call(SYS_init_module, "", 0L, ""); }},
    {"bpf", [] { return call(SYS_bpf, 0, nullptr, 0); }},
    {"perf events", [] { return call(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }},
    {"keys", [] { return call(SYS_keyctl, 0, 0, 0); }},
    {"userfaultfd", [] { return call(SYS_userfaultfd, 0); }},
    {"a ring without limits", [] { return call(SYS_io_uring_setup, 4, nullptr); }},
    {"kexec", [] { return call(SYS_kexec_load, 0, 0, nullptr, 0); }},
    {"reboot", [] { return call(SYS_reboot, 0, 0, 0, nullptr); }},
    {"set the time", [] { return call(SYS_settimeofday, nullptr, nullptr); }},
    {"host name", [] { return sethostname("x", 1) == 0; }},
    {"shared memory", [] { return shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0; }},
    {"type into the terminal", [] { return ioctl(2, TIOCSTI, "x") == 0; }},
    {"executable memory", [] { return executes(PROT_READ | PROT_EXEC); }},
    {"core dumps", [] { return prctl(PR_SET_DUMPABLE, 1) == 0; }},
    {"personality", [] { return call(SYS_personality, 0); }},
    {"raise limits",
     [] {
       const rlimit limit{8192, 8192};
       return call(SYS_prlimit64, 0, 7, &limit, nullptr);
     }},
};

/// Must fail on threads that are not the first or the filler.
const Attempt kNoFiles[] = {
    {"make a file", [] { return opens("/other", O_WRONLY | O_CREAT); }},
    {"open the root folder", [] { return opens("/", O_RDONLY | O_DIRECTORY); }},
    {"read a file inside", [] { return opens("/inside", O_RDONLY); }},
};

/// Must fail on threads that have nothing to do with sockets by name.
const Attempt kUnix[] = {
    {"UNIX socket", [] { return socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }},
};

/// Sets of threads: a bit for each role, and one for the first thread.
using Threads = unsigned;
constexpr Threads operator|(ThreadRole a, ThreadRole b) {
  return 1u << static_cast<unsigned>(a) | 1u << static_cast<unsigned>(b);
}
constexpr Threads operator|(Threads a, ThreadRole b) {
  return a | 1u << static_cast<unsigned>(b);
}
constexpr Threads kNobody = 0, kFirst = 1u << 31;
constexpr Threads kMachine = kFirst | ThreadRole::Control | ThreadRole::Events;
constexpr Threads kVcpu = kMachine | ThreadRole::Vcpu;
constexpr Threads kInterrupts =
    kVcpu | ThreadRole::Disk | ThreadRole::Network | ThreadRole::Socket | ThreadRole::Device;
constexpr Threads kTap = kFirst | ThreadRole::Network | ThreadRole::Control;
constexpr Threads kFill = kFirst | ThreadRole::Fill;

/// What roles differ by most: each of these gets to the kernel on those threads only.
struct Control {
  const char* what;
  unsigned long request;
  Threads allowed;
};
const Control kControls[] = {
    {"KVM_CREATE_VM", KVM_CREATE_VM, kMachine},
    {"KVM_CREATE_VCPU", KVM_CREATE_VCPU, kMachine},
    {"KVM_CREATE_DEVICE", KVM_CREATE_DEVICE, kMachine},
    {"KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, kMachine},
    {"KVM_GET_DIRTY_LOG", KVM_GET_DIRTY_LOG, kMachine},
    {"KVM_SET_REGS", KVM_SET_REGS, kMachine},
    {"KVM_SET_SREGS", KVM_SET_SREGS, kMachine},
    {"KVM_SET_MSRS", KVM_SET_MSRS, kMachine},
    {"KVM_SET_LAPIC", KVM_SET_LAPIC, kMachine},
    {"KVM_ENABLE_CAP", KVM_ENABLE_CAP, kMachine},
    {"KVM_SIGNAL_MSI", KVM_SIGNAL_MSI, kMachine},
    {"KVM_RUN", KVM_RUN, kVcpu},
    {"KVM_IRQ_LINE", KVM_IRQ_LINE, kVcpu},
    {"KVM_IOEVENTFD", KVM_IOEVENTFD, kVcpu},
    {"KVM_RESET_DIRTY_RINGS", KVM_RESET_DIRTY_RINGS, kVcpu},
    {"KVM_RUN with bits above", KVM_RUN | 1ul << 32, kMachine},
    {"KVM_SET_GSI_ROUTING", KVM_SET_GSI_ROUTING, kInterrupts},
    {"KVM_IRQFD", KVM_IRQFD, kInterrupts},
    {"UFFDIO_COPY", UFFDIO_COPY, kFill},
    {"UFFDIO_REGISTER", UFFDIO_REGISTER, kFill},
    {"TUNSETOFFLOAD", TUNSETOFFLOAD, kTap},
    {"TUNSETQUEUE", TUNSETQUEUE, kTap},
    {"BLKGETSIZE64", BLKGETSIZE64, kFirst},
    {"TUNSETIFF", TUNSETIFF, kNobody},
    {"TUNSETPERSIST", TUNSETPERSIST, kNobody},
    {"VHOST_SET_OWNER", _IO(0xaf, 1), kNobody},  // C++ cannot read <linux/vhost.h>
    {"TIOCSTI", TIOCSTI, kNobody},
    {"TIOCSTI with bits above", TIOCSTI | 1ul << 32, kNobody},
    {"TIOCLINUX", TIOCLINUX, kNobody},
    {"TIOCSCTTY", TIOCSCTTY, kNobody},
    {"BLKDISCARD", BLKDISCARD, kNobody},
    {"FS_IOC_SETFLAGS", FS_IOC_SETFLAGS, kNobody},
    {"FICLONE", FICLONE, kNobody},
    {"FIFREEZE", FIFREEZE, kNobody},
};

bool is_refusal(int error) {
  return error == EPERM || error == EACCES || error == ENOENT || error == ENOSYS ||
         error == ECONNREFUSED;  // nobody of that name in this network namespace
}

void note(const char* what, const char* thread, const char* attempt, int error) {
  ++surprises;
  std::printf("%s %s: %s (%s)\n", what, thread, attempt, std::strerror(error));
}

void try_all(const char* thread, std::span<const Attempt> attempts) {
  for (const auto& attempt : attempts) {
    errno = 0;
    if (attempt.works())
      note("WORKED", thread, attempt.what, 0);
    else if (!is_refusal(errno))
      note("UNCLEAR", thread, attempt.what, errno);
  }
}

/// No descriptor is needed: the filter answers with EPERM before the kernel looks for one, and the
/// kernel with EBADF when the filter lets it through.
void try_controls(const char* thread, Threads who) {
  for (const auto& control : kControls) {
    const bool allowed = (control.allowed & who) != 0;
    errno = 0;
    (void)syscall(SYS_ioctl, -1, control.request, nullptr);
    if (errno != (allowed ? EBADF : EPERM))
      note(allowed ? "FAILED" : "WORKED", thread, control.what, errno);
  }
}

void must(bool worked, const char* thread, const char* what) {
  if (!worked) note("FAILED", thread, what, errno);
}

void try_role(ThreadRole role, const char* name) {
  std::thread([&] {
    const auto narrowed = sandbox::narrow_thread(role);
    must(narrowed.ok(), name, "narrow");
    try_all(name, kNever);
    try_controls(name, kNobody | role);
    if (role != ThreadRole::Fill) try_all(name, kNoFiles);
    if (role != ThreadRole::Socket && role != ThreadRole::Control) try_all(name, kUnix);
    void* memory =
        mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, name, "memory");
    must(syscall(SYS_tgkill, getpid(), gettid(), 0) == 0, name, "own signals");
  }).join();
}

/// Reads and writes a disk that was opened before, as its worker does.
void try_disk(AsyncDisk& disk, const char* name) {
  std::thread([&] {
    must(sandbox::narrow_thread(ThreadRole::Disk).ok(), name, "narrow");
    std::vector<std::byte> bytes(8192, std::byte{7});
    for (const auto kind : {DiskRequest::Kind::Write, DiskRequest::Kind::Read,
                            DiskRequest::Kind::Flush, DiskRequest::Kind::Discard}) {
      DiskRequest request{.kind = kind, .length = bytes.size()};
      if (kind == DiskRequest::Kind::Write || kind == DiskRequest::Kind::Read)
        request.ranges = {{bytes.data(), bytes.size()}};
      disk.submit(request);
      disk.kick();
      pollfd done{disk.event_fd(), POLLIN, 0};
      must(poll(&done, 1, 5000) == 1, name, "completion in time");
      disk.settle();
      std::vector<DiskCompletion> completions;
      disk.reap(completions);
      must(completions.size() == 1 && completions[0].outcome == DiskOutcome::Done, name,
           "disk I/O");
      std::uint64_t count = 0;
      (void)!read(disk.event_fd(), &count, sizeof count);
    }
  }).join();
}

constexpr unsigned kDepth = 8;

/// A disk's ring in the hands of somebody who knows only its descriptor.
class StolenRing {
 public:
  /// Before the jail: finds it, and learns from a ring of the same size how its memory is laid out.
  StolenRing() {
    layout_.flags = IORING_SETUP_R_DISABLED;
    for (int fd = 0; fd < 64; ++fd) {
      std::array<char, 64> target{};
      if (readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target.data(), 63) > 0 &&
          std::string(target.data()) == "anon_inode:[io_uring]")
        ring_ = fd;
    }
    const Fd like(static_cast<int>(syscall(SYS_io_uring_setup, kDepth, &layout_)));
  }
  bool found() const { return ring_ >= 0; }
  bool maps() {
    const auto map = [this](std::size_t bytes, off_t what) {
      return static_cast<std::byte*>(
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring_, what));
    };
    queues_ =
        map(layout_.cq_off.cqes + layout_.cq_entries * sizeof(io_uring_cqe), IORING_OFF_SQ_RING);
    entries_ = reinterpret_cast<io_uring_sqe*>(
        map(layout_.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    return queues_ != MAP_FAILED && entries_ != MAP_FAILED;
  }
  /// What the kernel answers.
  int ask(const io_uring_sqe& entry) {
    const unsigned tail = number(layout_.sq_off.tail);
    const unsigned slot = tail % layout_.sq_entries;
    entries_[slot] = entry;
    number(layout_.sq_off.array + slot * 4) = slot;
    std::atomic_ref(number(layout_.sq_off.tail)).store(tail + 1, std::memory_order_release);
    if (syscall(SYS_io_uring_enter, ring_, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0)
      return -errno;
    const unsigned head = number(layout_.cq_off.head);
    if (std::atomic_ref(number(layout_.cq_off.tail)).load(std::memory_order_acquire) == head)
      return -ENODATA;
    const auto* answers = reinterpret_cast<const io_uring_cqe*>(queues_ + layout_.cq_off.cqes);
    const int result = answers[head % layout_.cq_entries].res;
    std::atomic_ref(number(layout_.cq_off.head)).store(head + 1, std::memory_order_release);
    return result;
  }
  int descriptor() const { return ring_; }

 private:
  unsigned& number(std::size_t at) { return *reinterpret_cast<unsigned*>(queues_ + at); }

  int ring_ = -1;
  io_uring_params layout_{};
  std::byte* queues_ = nullptr;
  io_uring_sqe* entries_ = nullptr;
};

/// On a disk's thread: nothing but a disk's work gets through the ring.
void try_ring(StolenRing& stolen) {
  std::thread([&] {
    const char* name = "stolen ring";
    must(sandbox::narrow_thread(ThreadRole::Disk).ok(), name, "narrow");
    must(stolen.maps(), name, "its memory");
    io_uring_sqe sync{};
    sync.opcode = IORING_OP_FSYNC;
    sync.fd = -1;
    const int allowed = stolen.ask(sync);
    if (allowed != -EBADF) note("UNCLEAR", name, "fsync of nothing", -allowed);
    const auto refused = [&](const io_uring_sqe& entry, const std::string& what) {
      const int result = stolen.ask(entry);
      if (result != -EACCES) note("WORKED", name, what.c_str(), result < 0 ? -result : 0);
    };
    for (int operation = 0; operation < IORING_OP_LAST; ++operation) {
      if (operation == IORING_OP_READV || operation == IORING_OP_WRITEV ||
          operation == IORING_OP_FSYNC || operation == IORING_OP_FALLOCATE)
        continue;
      io_uring_sqe entry{};
      entry.opcode = static_cast<__u8>(operation);
      entry.fd = AT_FDCWD;
      entry.addr = reinterpret_cast<std::uintptr_t>("/inside");
      refused(entry, "operation " + std::to_string(operation));
    }
    sync.flags = IOSQE_ASYNC;
    refused(sync, "a request with flags");
    if (call(SYS_io_uring_register, stolen.descriptor(), IORING_REGISTER_PROBE, nullptr, 0) ||
        errno != EPERM)
      note("WORKED", name, "register", errno);
  }).join();
}

/// The control: 2 when a name is none of ours.
int try_freely(std::span<char* const> names) {
  for (const std::string_view name : names) {
    std::vector<Attempt> named;
    for (const auto& list : {std::span<const Attempt>(kNever), std::span<const Attempt>(kUnix)})
      for (const auto& attempt : list)
        if (name == attempt.what) named.push_back(attempt);
    if (named.size() != 1) return 2;
    try_all("free", named);
  }
  std::thread([] { try_controls("free", kNobody | ThreadRole::Vcpu); }).join();
  std::fflush(stdout);
  return surprises == 0 ? 0 : 1;
}

int fail(const Error& error) {
  std::printf("NO JAIL %s\n", error.message().c_str());
  return 99;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  outside_socket = arguments[3];
  abstract_socket = arguments[4];
  const std::string_view option = count > 5 ? arguments[5] : "";
  if (option == "--free")
    return try_freely(std::span(arguments, static_cast<std::size_t>(count)).subspan(6));
  const auto user = static_cast<uid_t>(std::strtoul(arguments[2], nullptr, 10));
  if (option == "--drop" && (setgroups(0, nullptr) != 0 || setresgid(user, user, user) != 0 ||
                             setresuid(user, user, user) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0))
    return 2;
  sandbox::close_inherited();
  const std::string root = arguments[1];
  auto jail = sandbox::Jail::begin(
      {.user = user, .group = user, .root = root, .folder = sandbox::JailPlan::Folder::Share}, {});
  if (!jail.ok()) return fail(jail.error());
  Fd bytes(memfd_create("disk", 0));
  must(ftruncate(bytes.get(), 1 << 20) == 0, "first", "a file for the disk");
  const auto disk = RawDisk::open(std::move(bytes), Access::ReadWrite);
  if (!disk.ok()) return fail(disk.error());
  const auto ring = make_uring_disk(*disk.value(), kDepth);
  StolenRing stolen;
  must(!ring.ok() || stolen.found(), "first", "find the ring");
  const auto threaded =
      make_threaded_disk(*disk.value(), 1, [] { return sandbox::narrow_thread(ThreadRole::Disk); });
  std::thread early([] { must(true, "early", ""); });  // threads made before are in the jail too
  const auto closed = jail.value().close();
  early.join();
  if (!closed.ok()) return fail(closed.error());
  std::printf("REPORT %s\n", jail.value().report().text().c_str());

  const bool own_root = jail.value().report().holds(sandbox::kOwnRoot);
  const auto inside = jail.value().inside(root);
  const Fd file(open((inside + "/inside").c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  must(file.get() >= 0 && write(file.get(), "x", 1) == 1, "first", "make a file");
  must(own_root, "first", "own root folder");
  try_all("first", kNever);
  try_controls("first", kFirst);
  const std::pair<ThreadRole, const char*> roles[] = {
      {ThreadRole::Vcpu, "vcpu"},       {ThreadRole::Disk, "disk"},
      {ThreadRole::Network, "network"}, {ThreadRole::Socket, "socket"},
      {ThreadRole::Device, "device"},   {ThreadRole::Control, "control"},
      {ThreadRole::Events, "events"},   {ThreadRole::Fill, "fill"}};
  for (const auto& [role, name] : roles) try_role(role, name);
  if (ring.ok()) {
    try_disk(*ring.value(), "ring");
    try_ring(stolen);
  }
  if (threaded.ok()) try_disk(*threaded.value(), "disk threads");
  std::fflush(stdout);
  return surprises == 0 ? 0 : 1;
}
