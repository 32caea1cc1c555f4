// agent/storage/saved_files.h - the files of a machine's saved state in its folder.
//
//   state.part   being written, or complete and not yet kept
//   state        complete; nothing has run from it
//   state.marks  how the disks and the state were when it was kept
//   state.used   something may have run from it; empty once its space was given back
//
// The name is the proof: a state is renamed to state.used, durably, before anything runs from it,
// so one that is called `state` can be restored and one that is not never is. The marks are the
// second line: whoever else wrote a disk meanwhile, memory that no longer fits it is refused.
#pragma once

#include <functional>
#include <string_view>

#include "agent/storage/beneath.h"
#include "base/status.h"
#include "reeve/agent/v1/guest.pb.h"

namespace reeve::agent::saved_files {

inline constexpr const char* kPart = "state.part";
inline constexpr const char* kState = "state";

using At = std::function<void(std::string_view point)>;

/// NotFound/NO_SAVED_STATE.
Error no_saved_state();
/// Everything of an older one goes.
Status clear(const Folder& folder);
/// The same, and sets aside what keep() needs: it runs when the guest is off already, and must not
/// fail on a disk that its memory has filled.
Status begin(const Folder& folder);
/// Disks and state are on the storage when it returns. NotFound/NO_SAVED_STATE.
Status keep(const Folder& folder, const v1::GuestSpec& spec, const At& at);
/// FailedPrecondition/SAVED_STATE_STALE names what is not as it was.
Status check(const Folder& folder);
/// NotFound/NO_SAVED_STATE; fine when it is used already.
Status use(const Folder& folder, const At& at);
/// Fine when there is none. Who has it open may read on.
Status free_used(const Folder& folder, const At& at);
/// True when it was used, and no other was kept since.
bool was_used(const Folder& folder);

}  // namespace reeve::agent::saved_files
