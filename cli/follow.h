// cli/follow.h - shows a plan, and follows a job to its end with progress on stderr.
#pragma once

#include "cli/session.h"

namespace reeve::cli {

/// The plan as text: steps, placement with reasons, field diff, expected outage, locks.
std::string describe_plan(const v1::Job& job);

/// Does what the change options say with the answer of a mutating call: prints the plan, or the
/// job's name, or waits. Errors: JOB_FAILED (with the job's own error), JOB_PARKED (naming the
/// choices), WAIT_TIMEOUT, INTERRUPTED. With machine formats the finished job is printed; otherwise
/// one line that says what was done.
Status finish(Session& session, v1::Job job);

/// Waits for the end of a job, `wait_seconds` 0 for ever; progress as bars when stderr is a
/// terminal.
Result<v1::Job> follow(Session& session, v1::Job job, int wait_seconds);

}  // namespace reeve::cli
