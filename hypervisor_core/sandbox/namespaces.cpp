#include "hypervisor_core/sandbox/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

namespace reeve::core::sandbox {
namespace {

Status unshare_one(int flag) {
  if (unshare(flag) == 0) return {};
  return errno_error("unshare");
}

Status write_text(const char* path, const std::string& text) {
  const Fd file = TRY(open_file(path, O_WRONLY));
  return write_all(file.get(), std::as_bytes(std::span(text)));
}

/// The same user and group inside as outside, and no way to others.
Status enter_user_namespace() {
  const std::string user = std::to_string(geteuid()), group = std::to_string(getegid());
  TRY(unshare_one(CLONE_NEWUSER));
  TRY(write_text("/proc/self/setgroups", "deny"));
  TRY(write_text("/proc/self/uid_map", user + " " + user + " 1"));
  return write_text("/proc/self/gid_map", group + " " + group + " 1");
}

Status enter_mount_namespace() {
  TRY(unshare_one(CLONE_NEWNS));
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return errno_error("keeping mounts private");
  return {};
}

/// A mount of the folder alone, without device files, programs and set-user-id bits.
Result<Fd> mount_of(int folder) {
  Fd tree(open_tree(folder, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree) return errno_error("open_tree");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return errno_error("mount_setattr");
  return tree;
}

Status pivot_to(int folder) {
  const Fd tree = TRY(mount_of(folder));
  if (move_mount(tree.get(), "", folder, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) !=
      0)
    return errno_error("mounting the root folder");
  if (fchdir(tree.get()) != 0) return errno_error("entering the root folder");
  if (syscall(SYS_pivot_root, ".", ".") == 0) {
    if (umount2(".", MNT_DETACH) != 0) return errno_error("leaving the old root");
  } else if (errno != EINVAL) {
    return errno_error("pivot_root");
  } else if (mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0) {
    return errno_error("moving the root folder");  // the first root of a system cannot be left
  }
  return {};
}

}  // namespace

void enter_namespaces(Report& report) {
  if (geteuid() != 0) report.add(kUserNamespace, enter_user_namespace());
  report.add(kMountNamespace, enter_mount_namespace());
  report.add(kIpcNamespace, unshare_one(CLONE_NEWIPC));
  report.add(kHostName, unshare_one(CLONE_NEWUTS));
  report.add(kNetworkNamespace, unshare_one(CLONE_NEWNET));
  report.add(kPidNamespace, unshare_one(CLONE_NEWPID));
}

Status change_root(int folder) {
  const auto pivoted = pivot_to(folder);
  if (!pivoted.ok() && (fchdir(folder) != 0 || chroot(".") != 0)) return pivoted;
  return chdir("/") == 0 ? Status{} : Status(errno_error("chdir"));
}

Result<Fd> empty_folder() {
  const Fd system(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!system) return errno_error("fsopen");
  if (fsconfig(system.get(), FSCONFIG_SET_STRING, "nr_inodes", "2", 0) != 0 ||
      fsconfig(system.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return errno_error("making an empty file system");
  Fd tree(fsmount(system.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
  if (!tree) return errno_error("fsmount");
  if (move_mount(tree.get(), "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return errno_error("mounting an empty folder");
  return tree;
}

}  // namespace reeve::core::sandbox
