// base/fd.h - a file descriptor that closes itself, and the error of the last system call.
#pragma once

#include <string_view>
#include <utility>

#include "base/status.h"

namespace reeve {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();
  /// A second descriptor of the same open file, close-on-exec.
  Result<Fd> duplicate() const;

 private:
  int fd_ = -1;
};

/// errno as an Error "what: No space left on device". ENOSPC and EDQUOT are
/// ResourceExhausted/DISK_FULL, ENOENT NotFound/FILE_NOT_FOUND, EACCES and EPERM
/// PermissionDenied/FILE_ACCESS, EEXIST AlreadyExists/FILE_EXISTS, all others Internal/SYSTEM_CALL.
Error errno_error(std::string_view what);
Error errno_error(std::string_view what, int error_number);

}  // namespace reeve
