#include "server/jobs/kinds.h"

#include <algorithm>

namespace reeve::server {

const KindRow& kind_row(std::string_view kind) {
  static constexpr KindRow kUnknown{
      "", {.not_done = Decision::Park}, {.not_done = Decision::Park}, ""};
  const auto it = std::ranges::find(kJobKinds, kind, &KindRow::kind);
  return it == kJobKinds.end() ? kUnknown : *it;
}

Decision decide(const KindRow& row, Direction direction, agent::v1::StepSeen::Outcome outcome) {
  const Decisions& decisions = direction == Direction::Forward ? row.forward : row.backward;
  switch (outcome) {
    case agent::v1::StepSeen::OUTCOME_DONE: return decisions.done;
    case agent::v1::StepSeen::OUTCOME_NOT_DONE: return decisions.not_done;
    case agent::v1::StepSeen::OUTCOME_IN_PROGRESS: return decisions.in_progress;
    default: return decisions.unknowable;
  }
}

}  // namespace reeve::server
