// cli/exit_code.h - the published exit codes (docs/guide/cli.md); they never change their meaning.
#pragma once

#include "base/status.h"

namespace reeve::cli {

enum class ExitCode : int {
  Ok = 0,
  Failure = 1,  ///< anything not below
  Usage = 2,    ///< the command line is wrong, or means several where one is wanted
  NotFound = 3,
  Conflict = 4,       ///< stale etag, busy, exists already, wrong state
  Permission = 5,     ///< not logged in, or not allowed
  Unreachable = 6,    ///< the server (or a host it needs) does not answer
  Timeout = 7,        ///< --wait ended first; the job goes on
  Partial = 8,        ///< some of several objects failed, or all for different reasons
  JobFailed = 9,      ///< the job ended in failed or cancelled
  JobParked = 10,     ///< the job waits for a choice
  Interrupted = 130,  ///< Ctrl-C; the job goes on, but that of an upload
};

ExitCode exit_code_of(const Error& error);

}  // namespace reeve::cli
