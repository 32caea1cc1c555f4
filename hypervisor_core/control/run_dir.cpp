#include "hypervisor_core/control/run_dir.h"

#include <cerrno>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "hypervisor_core/control/client.h"
#include "hypervisor_core/control/frame.h"
#include "hypervisor_core/control/said.h"

namespace reeve::core::control {
namespace {

constexpr std::size_t kMaxClaim = 64;

}  // namespace

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

Result<v1::ExitReport> read_exit_report(const std::filesystem::path& run_dir) {
  const auto path = run_dir / kExitFile;
  v1::ExitReport report;
  if (!report.ParseFromString(TRY(read_left_file(path, kMaxMessage))))
    return Error{Code::PermissionDenied, "RUN_DIR_FILE", "'" + path.native() + "' is not a report"};
  make_passable(report);
  return report;
}

Result<Claim> read_claim(const std::filesystem::path& run_dir) {
  const auto path = run_dir / kPidFile;
  std::istringstream words(TRY(read_left_file(path, kMaxClaim)));
  Claim claim;
  if (!(words >> claim.pid >> claim.start_ticks) || claim.pid <= 1)
    return Error{Code::PermissionDenied, "RUN_DIR_FILE",
                 "'" + path.native() + "' names no process"};
  return claim;
}

}  // namespace reeve::core::control
