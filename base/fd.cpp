#include "base/fd.h"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace reeve {

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<Fd> Fd::duplicate() const {
  const int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return errno_error("duplicating a descriptor");
  return Fd(copy);
}

Error errno_error(std::string_view what) {
  return errno_error(what, errno);
}

Error errno_error(std::string_view what, int error_number) {
  std::string message = std::string(what) + ": " + std::generic_category().message(error_number);
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return Error(Code::ResourceExhausted, "DISK_FULL", std::move(message))
          .remedy("free space on that file system, then retry");
    case ENOENT: return {Code::NotFound, "FILE_NOT_FOUND", std::move(message)};
    case EACCES:
    case EPERM: return {Code::PermissionDenied, "FILE_ACCESS", std::move(message)};
    case EEXIST: return {Code::AlreadyExists, "FILE_EXISTS", std::move(message)};
    default: return {Code::Internal, "SYSTEM_CALL", std::move(message)};
  }
}

}  // namespace reeve
