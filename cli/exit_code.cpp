#include "cli/exit_code.h"

namespace reeve::cli {

ExitCode exit_code_of(const Error& error) {
  if (error.reason() == "WAIT_TIMEOUT") return ExitCode::Timeout;
  if (error.reason() == "PARTIAL") return ExitCode::Partial;
  if (error.reason() == "JOB_FAILED") return ExitCode::JobFailed;
  if (error.reason() == "JOB_PARKED") return ExitCode::JobParked;
  if (error.reason() == "INTERRUPTED") return ExitCode::Interrupted;
  switch (error.code()) {
    case Code::InvalidArgument:  // the contexts' file is no part of the command line
      return error.reason() == "BAD_CONTEXTS" ? ExitCode::Failure : ExitCode::Usage;
    case Code::NotFound: return ExitCode::NotFound;
    case Code::AlreadyExists:
    case Code::Aborted:
    case Code::FailedPrecondition: return ExitCode::Conflict;
    case Code::PermissionDenied:
    case Code::Unauthenticated: return ExitCode::Permission;
    case Code::Unavailable:
    case Code::DeadlineExceeded: return ExitCode::Unreachable;
    default: return ExitCode::Failure;
  }
}

}  // namespace reeve::cli
