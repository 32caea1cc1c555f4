// cli/follow.h - shows a plan, and follows a job to its end with progress on stderr.
#pragma once

#include "cli/names.h"
#include "cli/session.h"

namespace reeve::cli {

/// "  description: (none) -> web server", a line of a plan; nothing when both are the same.
std::string change_line(const std::string& field, const std::string& before,
                        const std::string& after);
/// A line for each label that is another one afterwards.
std::string label_changes(const google::protobuf::Map<std::string, std::string>& before,
                          const google::protobuf::Map<std::string, std::string>& after);
/// The plan as text: steps, placement with reasons, field diff, expected outage, locks.
std::string describe_plan(const v1::Job& job, Names& names);

/// Before a call whose answer goes to finish(): InvalidArgument/USAGE for formats that a plan does
/// not have.
Status check_change(const Session& session);

/// Does what the change options say with the answer of a mutating call: prints the plan, or the
/// job's name, or waits. Errors: JOB_FAILED (with the job's own error), JOB_PARKED (naming the
/// choices), WAIT_TIMEOUT, INTERRUPTED. For people one line says what was done; json has the
/// finished job as one object on one line, yaml as a document, csv as a row, name its target.
Status finish(Session& session, v1::Job job);

/// Waits for the end of a job, `wait_seconds` 0 for ever; progress as bars when stderr is a
/// terminal.
Result<v1::Job> follow(Session& session, v1::Job job, int wait_seconds);

}  // namespace reeve::cli
