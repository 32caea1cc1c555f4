#include "agent/console/log_follower.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

namespace reeve::agent {
namespace {

struct LogFile {
  Fd fd{};
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
};

/// The log and what its writer set aside, oldest first. A file that is renamed meanwhile may be
/// seen twice or not at all; the next call sees it right, because it is found by its inode.
std::vector<LogFile> files_of(const std::string& path) {
  constexpr int kMostKept = 8;
  std::vector<LogFile> files;
  for (int i = -1; i < kMostKept; ++i) {
    const std::string name = i < 0 ? path : path + "." + std::to_string(i);
    auto fd = open_file(name, O_RDONLY | O_NOFOLLOW);
    if (!fd.ok()) {
      if (i < 0) continue;
      break;
    }
    struct stat st {};
    if (::fstat(fd.value().get(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    files.push_back({std::move(fd).value(), st.st_ino, static_cast<std::uint64_t>(st.st_size)});
  }
  std::reverse(files.begin(), files.end());
  return files;
}

}  // namespace

Result<bool> follow_log(const std::string& path, ConsoleRing& ring, std::size_t limit) {
  auto files = files_of(path);
  const LogPosition last = ring.log_position();
  const auto known = std::find_if(files.begin(), files.end(),
                                  [&](const LogFile& file) { return file.inode == last.inode; });
  auto file = known == files.end() ? files.begin() : known;
  std::uint64_t at = known == files.end() ? 0 : last.offset;
  std::string buffer(std::min<std::size_t>(limit, 256u << 10), '\0');
  for (; file != files.end(); ++file, at = 0) {
    if (at > file->size) at = 0;  // it was cut
    while (at < file->size) {
      if (limit == 0) return true;
      const auto want = std::min<std::uint64_t>({file->size - at, buffer.size(), limit});
      const ssize_t n = ::pread(file->fd.get(), buffer.data(), want, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_error("reading '" + path + "'");
      if (n == 0) break;
      at += static_cast<std::uint64_t>(n);
      limit -= static_cast<std::size_t>(n);
      TRY(ring.append(std::string_view(buffer).substr(0, static_cast<std::size_t>(n)),
                      {.inode = file->inode, .offset = at}));
    }
  }
  return false;
}

}  // namespace reeve::agent
