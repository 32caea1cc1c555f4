#include "hypervisor_core/control/run_dir.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"

namespace reeve::core::control {

Result<std::string> read_left_file(const std::filesystem::path& path, std::size_t limit) {
  const Error other{Code::PermissionDenied, "RUN_DIR_FILE",
                    "'" + path.native() + "' is not a plain file"};
  // Not followed, and not waited on when it is a pipe.
  const Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && errno == ELOOP) return other;
  if (!file) return errno_error("opening '" + path.native() + "'");
  struct stat facts {};
  if (fstat(file.get(), &facts) != 0) return errno_error("looking at '" + path.native() + "'");
  if (!S_ISREG(facts.st_mode)) return other;
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  if (size > limit)
    return Error{Code::ResourceExhausted, "FILE_TOO_LARGE",
                 "'" + path.native() + "' has " + std::to_string(size) + " bytes, allowed are " +
                     std::to_string(limit)};
  std::string bytes(size, '\0');
  TRY(read_at(file.get(), 0, std::as_writable_bytes(std::span(bytes))));
  return bytes;
}

}  // namespace reeve::core::control
