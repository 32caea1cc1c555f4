#include "db/sqlite/lock.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>

#include "base/file.h"

namespace reeve::db {

Result<Fd> lock_database(const std::filesystem::path& path) {
  auto fd = TRY(open_file(path.string() + ".lock", O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return errno_error("locking '" + path.string() + "'");
  return Error{Code::FailedPrecondition, "DB_IN_USE",
               "'" + path.string() + "' is in use by another process"}
      .remedy("stop the server first");
}

}  // namespace reeve::db
