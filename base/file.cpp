#include "base/file.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace reeve {

namespace fs = std::filesystem;

Result<Fd> open_file(const fs::path& path, int flags, mode_t mode) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return errno_error("opening '" + path.string() + "'");
  return fd;
}

Result<std::string> read_file(const fs::path& path, std::size_t limit) {
  const Fd fd = TRY(open_file(path, O_RDONLY));
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("reading '" + path.string() + "'");
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > limit)
      return Error{Code::ResourceExhausted, "FILE_TOO_LARGE",
                   "'" + path.string() + "' is larger than " + std::to_string(limit) + " bytes"};
  }
}

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("writing");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status read_at(int fd, std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("reading");
    if (n == 0) return Error{Code::DataLoss, "FILE_TRUNCATED", "file ends early"};
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("writing");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status sync_dir(const fs::path& path) {
  const Fd fd = TRY(open_file(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return errno_error("syncing '" + path.string() + "'");
  return {};
}

Status write_file_durably(const fs::path& path, std::string_view content, mode_t mode) {
  const fs::path temporary = path.string() + ".new";
  const auto fill = [&]() -> Status {
    // Never what somebody else has put there: the folder may not be ours alone.
    TRY(remove_file(temporary));
    const Fd fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
    if (::fchmod(fd.get(), mode) != 0) return errno_error("setting the mode");
    TRY(write_all(fd.get(), std::as_bytes(std::span(content.data(), content.size()))));
    if (::fsync(fd.get()) != 0) return errno_error("syncing");
    return {};
  };
  auto filled = fill();
  if (!filled.ok()) {
    ::unlink(temporary.c_str());
    return std::move(filled).error().during("writing '" + path.string() + "'");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return errno_error("renaming to '" + path.string() + "'");
  return sync_dir(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

Status make_dirs(const fs::path& path, mode_t mode) {
  if (path.empty()) return {};
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return {};
  if (path.has_parent_path() && path.parent_path() != path)
    TRY(make_dirs(path.parent_path(), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return errno_error("making folder '" + path.string() + "'");
  return {};
}

Status remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return errno_error("removing '" + path.string() + "'");
  return {};
}

Status remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return errno_error("removing '" + path.string() + "'", error.value());
  return {};
}

Result<std::uint64_t> file_size(const fs::path& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno_error("looking at '" + path.string() + "'");
  return static_cast<std::uint64_t>(st.st_size);
}

}  // namespace reeve
