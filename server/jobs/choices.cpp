#include "server/jobs/choices.h"

#include "server/jobs/journal.h"

namespace reeve::server {

namespace {

using Cause = journal::v1::JobRecord;

/// The step in doubt, or the one that failed.
int open_step(const LoadedJob& job) {
  for (int i = job.step_count() - 1; i >= 0; --i) {
    const auto state = job.step_state(i);
    if (state == v1::JobStep::STATE_RUNNING || state == v1::JobStep::STATE_UNDOING) return i;
  }
  return 0;
}

v1::JobChoice choice(std::string_view id, std::string description) {
  v1::JobChoice result;
  result.set_id(std::string(id));
  result.set_description(std::move(description));
  return result;
}

std::string retry_text(const LoadedJob& job, const std::string& title, const std::string& host) {
  const std::string verb = job.record.backwards() ? "undoes '" : "does '";
  switch (job.record.park_cause()) {
    case Cause::PARK_CAUSE_UNREACHABLE:
      return "waits again for host '" + host +
             "'; the job also goes on by itself when the host is back";
    case Cause::PARK_CAUSE_UNKNOWABLE:
      return verb + title + "' again on host '" + host + "', which may do it a second time";
    default: return verb + title + "' again on host '" + host + "'";
  }
}

std::string abandon_text(const LoadedJob& job, const std::string& host) {
  const std::string stays = "gives the job up now: what it did on host '" + host +
                            "' stays as it is, " + "and its locks are released. ";
  if (job.row.target_kind == "image")
    return stays + "The image is marked incomplete; delete it to clean up";
  return stays + "The machine's state shows as unknown until the host reports it; " +
         (job.row.kind == "CreateVm" ? "delete the machine to clean up"
                                     : "look before the next change");
}

}  // namespace

std::vector<v1::JobChoice> choices_of(const LoadedJob& job) {
  const auto& step = job.planned(open_step(job));
  const auto& host = step.host_display_name();
  std::vector<v1::JobChoice> choices;
  choices.push_back(choice(kRetry, retry_text(job, step.title(), host)));
  if (!job.record.backwards() && !job.past_return() && job.has_undo()) {
    const bool away = job.record.park_cause() == Cause::PARK_CAUSE_UNREACHABLE;
    choices.push_back(
        choice(kRollBack, "undoes what the job has done, last step first" +
                              std::string(away ? ", as soon as host '" + host + "' is back" : "")));
  }
  choices.push_back(choice(kAbandon, abandon_text(job, host)));
  return choices;
}

}  // namespace reeve::server
