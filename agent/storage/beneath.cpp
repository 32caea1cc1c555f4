#include "agent/storage/beneath.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

namespace reeve::agent {
namespace {

Result<Fd> open_beneath(int folder, std::string_view name, int flags, mode_t mode) {
  const std::string path(name);
  if (path.find('\0') != std::string::npos)
    return Error{Code::PermissionDenied, "PATH_ESCAPES", "a path with a zero byte"};
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  if ((flags & O_CREAT) != 0) how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == ELOOP || errno == EXDEV)
      return Error{Code::PermissionDenied, "PATH_ESCAPES",
                   "'" + path + "' has a link or leads elsewhere"};
    return errno_error("opening '" + path + "'");
  }
}

}  // namespace

Result<Folder> Folder::open(const std::string& path) {
  return Folder(TRY(reeve::open_file(path, O_RDONLY | O_DIRECTORY)));
}

Result<Fd> Folder::open_file(std::string_view name, int flags, mode_t mode) const {
  return open_beneath(fd_.get(), name, flags, mode);
}

Result<Folder> Folder::folder(std::string_view name) const {
  return Folder(TRY(open_beneath(fd_.get(), name, O_RDONLY | O_DIRECTORY, 0)));
}

Result<Folder> Folder::make_folder(std::string_view name, mode_t mode) const {
  const std::string path(name);
  if (::mkdirat(fd_.get(), path.c_str(), mode) == 0) {
    if (::fchmodat(fd_.get(), path.c_str(), mode, 0) != 0) return errno_error("setting a mode");
  } else if (errno != EEXIST) {
    return errno_error("making folder '" + path + "'");
  }
  return folder(name);
}

Result<std::vector<std::string>> Folder::list() const {
  Fd copy = TRY(open_beneath(fd_.get(), ".", O_RDONLY | O_DIRECTORY, 0));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy.get()), ::closedir);
  if (!dir) return errno_error("listing a folder");
  copy.release();
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Folder::has(std::string_view name) const {
  struct stat st {};
  return ::fstatat(fd_.get(), std::string(name).c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

Status Folder::move_to(std::string_view name, const Folder& to, std::string_view new_name) const {
  constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE
  if (::renameat2(fd_.get(), std::string(name).c_str(), to.fd(), std::string(new_name).c_str(),
                  kNoReplace) != 0)
    return errno_error("renaming '" + std::string(name) + "'");
  return {};
}

Status Folder::remove_file(std::string_view name) const {
  if (::unlinkat(fd_.get(), std::string(name).c_str(), 0) != 0 && errno != ENOENT)
    return errno_error("removing '" + std::string(name) + "'");
  return {};
}

Status Folder::remove_tree(std::string_view name) const {
  struct stat st {};
  if (::fstatat(fd_.get(), std::string(name).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return errno_error("looking at '" + std::string(name) + "'");
  }
  if (!S_ISDIR(st.st_mode)) return remove_file(name);
  {
    const Folder inside = TRY(folder(name));
    for (const auto& entry : TRY(inside.list())) TRY(inside.remove_tree(entry));
  }
  if (::unlinkat(fd_.get(), std::string(name).c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return errno_error("removing folder '" + std::string(name) + "'");
  return {};
}

Result<std::string> Folder::read(std::string_view name, std::size_t limit) const {
  const Fd fd = TRY(open_file(name, O_RDONLY | O_NONBLOCK));
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("reading '" + std::string(name) + "'");
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > limit)
      return Error{Code::DataLoss, "STORE_DAMAGED", "'" + std::string(name) + "' is too large"};
  }
}

Status Folder::write_durably(std::string_view name, std::string_view content, mode_t mode) const {
  const std::string temporary = std::string(name) + ".new";
  const auto fill = [&]() -> Status {
    const Fd fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
    if (::fchmod(fd.get(), mode) != 0) return errno_error("setting a mode");
    TRY(write_all(fd.get(), as_bytes(content)));
    if (::fsync(fd.get()) != 0) return errno_error("syncing");
    return {};
  };
  if (auto filled = fill(); !filled.ok()) {
    ::unlinkat(fd_.get(), temporary.c_str(), 0);
    return std::move(filled).error().during("writing '" + std::string(name) + "'");
  }
  if (::renameat(fd_.get(), temporary.c_str(), fd_.get(), std::string(name).c_str()) != 0)
    return errno_error("renaming to '" + std::string(name) + "'");
  return sync();
}

Status Folder::sync() const {
  if (::fsync(fd_.get()) != 0) return errno_error("syncing a folder");
  return {};
}

std::string Folder::path_of(std::string_view name) const {
  return "/proc/self/fd/" + std::to_string(fd_.get()) + "/" + std::string(name);
}

}  // namespace reeve::agent
