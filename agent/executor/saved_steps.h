// agent/executor/saved_steps.h - the steps that make a saved state, run from it, or do away with
// it.
//
//                      save                        restore              resume
//   running, paused ----------> off, state kept ----------> paused ----------------> running
//                                     |            state kept;        state used,
//                                     |            nothing ran        then it runs
//                                     '---- stop without grace: state forgotten
//
// Nothing ever runs from a state that is still kept, and a used one is never restored: whatever
// dies in between, a state is not used twice, nor after the disks have moved on. Worker threads.
#pragma once

#include <string>

#include "agent/executor/step.h"

namespace reeve::agent {

Result<Facts> save_guest(const v1::SaveGuest& action, StepContext& context);
/// Fine when it has run already, even when it is off by now.
Result<Facts> restore_guest(const v1::RestoreGuest& action, StepContext& context);
Result<Facts> resume_guest(const v1::ResumeGuest& action, StepContext& context);
/// Starts what is off from its disks. What is left of older states no longer fits them and is
/// forgotten. FailedPrecondition/GUEST_SAVED: it would lose a kept state.
Status start_anew(Driver& driver, Store& store, const std::string& uid);

}  // namespace reeve::agent
