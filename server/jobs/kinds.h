// server/jobs/kinds.h - what is true of a whole kind of job: how an interrupted step is taken up
// again, and what cancelling means. The tables are data; docs/guide/jobs.md prints them, a test
// walks every cell.
#pragma once

#include <array>
#include <string_view>

#include "reeve/agent/v1/step.pb.h"

namespace reeve::server {

/// What to do with a step in doubt once its agent has looked.
enum class Decision {
  Continue,  ///< it took effect: journal it and go on
  RunAgain,  ///< it did not, or doing it again cannot harm: send it again
  Park,      ///< a person decides
  Wait,      ///< it is being executed: its result follows
};
enum class Direction { Forward, Backward };

/// One decision per outcome of an observation.
struct Decisions {
  Decision done = Decision::Continue;
  Decision not_done = Decision::RunAgain;
  Decision unknowable = Decision::Park;
  Decision in_progress = Decision::Wait;
};

struct KindRow {
  std::string_view kind;
  Decisions forward;        ///< a step in doubt
  Decisions backward;       ///< the undoing of a step in doubt
  std::string_view cancel;  ///< what CancelJob does; empty: it cannot be cancelled
};

// Doing an idempotent action again is right whenever looking did not help, except where it could
// disturb a guest: an unneeded reboot, or a start that cannot be shown not to have happened.
// clang-format off
inline constexpr auto kJobKinds = [] {
  using enum Decision;
  constexpr Decisions kAgain{Continue, RunAgain, RunAgain, Wait};
  constexpr Decisions kAsk  {Continue, RunAgain, Park,     Wait};
  return std::array<KindRow, 12>{{
    // kind           forward  backward  cancel
    {"ImportImage",   kAgain,  kAgain,   "stops the import and removes what it has stored"},
    {"DeleteImage",   kAgain,  kAgain,   ""},
    {"CreateVm",      kAsk,    kAgain,   "stops the machine if it runs, and removes it with its disks"},
    {"StartVm",       kAsk,    kAgain,   "stops waiting for the start; a machine that has started stays running"},
    {"StopVm",        kAgain,  kAgain,   "stops waiting for the guest; it may still shut down by itself"},
    {"RebootVm",      kAsk,    kAgain,   "stops waiting for the guest; it may still restart by itself"},
    {"PauseVm",       kAgain,  kAgain,   "stops waiting; a machine that is paused already stays paused"},
    {"ResumeVm",      kAgain,  kAgain,   "stops waiting; a machine that runs already stays running"},
    {"SaveVm",        kAgain,  kAgain,   "stops waiting; a machine that is saved already stays saved"},
    {"RestoreVm",     kAgain,  kAgain,   "stops waiting; a machine that runs already stays running"},
    {"UpdateVm",      kAgain,  kAgain,   "puts the old values back"},
    {"DeleteVm",      kAgain,  kAgain,   "defines the machine again; a machine that was powered off stays off"},
  }};
}();
// clang-format on

/// The row of a kind; a kind we never wrote gets a row that always asks.
const KindRow& kind_row(std::string_view kind);

Decision decide(const KindRow& row, Direction direction, agent::v1::StepSeen::Outcome outcome);

}  // namespace reeve::server
