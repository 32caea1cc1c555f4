// server/app/vm_state.h - the power states of a machine, and which verb is possible in which.
//
//                 CreateVm                    StartVm
//   (none) ──► CREATING ──► STOPPED ───────────────────────► RUNNING ◄──┐ ResumeVm
//                              ▲  ▲ ▲  StopVm                  │  │     │
//                              │  │ └──────────────────────────┘  └──► PAUSED
//                              │  └────────────── StopVm ───────────────┘  PauseVm
//                     DeleteVm │            CRASHED (seen; StartVm or StopVm leaves it)
//                              │            SAVED (SaveVm from RUNNING or PAUSED; RestoreVm to
//                              RUNNING, │            StopVm without grace to STOPPED) ▼
//                            (none)         MISSING, UNKNOWN (seen; only DeleteVm)
//
// What each state guarantees:
//
//   state     host has it defined  memory of host in use  disks exist  a job may hold it
//   CREATING  perhaps              no                     perhaps      yes, unless it was abandoned
//   STOPPED   yes                  no                     yes          yes
//   RUNNING   yes                  yes                    yes          yes
//   PAUSED    yes                  yes                    yes          yes
//   CRASHED   yes                  perhaps                yes          yes
//   MISSING   no                   no                     perhaps      yes
//   UNKNOWN   perhaps              perhaps                perhaps      yes
//   SAVED     yes                  no                     yes          yes
//
// The table below is data. The planner refuses with it, allowed_actions shows it, and nobody
// compares states elsewhere.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "proto/features.h"
#include "reeve/v1/authorization.pb.h"
#include "reeve/v1/common.pb.h"
#include "reeve/v1/vm.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

enum class VmVerb {
  Start,
  Stop,
  Reboot,
  Pause,
  Resume,
  Save,
  Restore,
  Update,
  Delete,
  AttachConsole
};
inline constexpr std::array kVmVerbs{
    VmVerb::Start, VmVerb::Stop,    VmVerb::Reboot, VmVerb::Pause,  VmVerb::Resume,
    VmVerb::Save,  VmVerb::Restore, VmVerb::Update, VmVerb::Delete, VmVerb::AttachConsole};

/// How a verb is in one state: possible, possible with force only, or refused for a cause.
enum class Verdict { Yes, Force, NotStopped, NotRunning, NotPaused, NotDefined, NotSaved, Saved };

struct VerbRow {
  VmVerb verb;
  std::string_view method;  ///< "StartVm"
  v1::Permission permission;
  std::string_view capability;  ///< of the hypervisor; empty when every one can
  std::string_view feature;     ///< of the agent (proto/features.h); empty when every one can
  bool discovered;              ///< also for machines that Reeve did not make
  /// CREATING, STOPPED, RUNNING, PAUSED, CRASHED, MISSING, UNKNOWN, SAVED
  std::array<Verdict, 8> states;
};

// clang-format off
inline constexpr auto kVmVerbTable = [] {
  using enum Verdict;
  using P = v1::Permission;
  constexpr auto kOperate = P::PERMISSION_OPERATE;
  constexpr auto kEdit = P::PERMISSION_EDIT_VMS;
  return std::array<VerbRow, 10>{{
    // verb                 method           permission capability     feature             discov.  CREATING    STOPPED     RUNNING     PAUSED      CRASHED     MISSING     UNKNOWN     SAVED
    {VmVerb::Start,         "StartVm",       kOperate,  "",            "",                 true,   {NotDefined, Yes,        NotStopped, NotStopped, Yes,        NotDefined, NotStopped, Saved}},
    {VmVerb::Stop,          "StopVm",        kOperate,  "",            "",                 true,   {NotRunning, NotRunning, Yes,        Yes,        Yes,        NotRunning, NotRunning, Force}},
    {VmVerb::Reboot,        "RebootVm",      kOperate,  "",            "",                 true,   {NotRunning, NotRunning, Yes,        NotRunning, NotRunning, NotRunning, NotRunning, NotRunning}},
    {VmVerb::Pause,         "PauseVm",       kOperate,  "pause",       "",                 true,   {NotRunning, NotRunning, Yes,        NotRunning, NotRunning, NotRunning, NotRunning, NotRunning}},
    {VmVerb::Resume,        "ResumeVm",      kOperate,  "pause",       "",                 true,   {NotPaused,  NotPaused,  NotPaused,  Yes,        NotPaused,  NotPaused,  NotPaused,  NotPaused}},
    {VmVerb::Save,          "SaveVm",        kOperate,  "saved-state", kFeatureSavedState, false,  {NotRunning, NotRunning, Yes,        Yes,        NotRunning, NotRunning, NotRunning, NotRunning}},
    {VmVerb::Restore,       "RestoreVm",     kOperate,  "saved-state", kFeatureSavedState, false,  {NotSaved,   NotSaved,   NotSaved,   NotSaved,   NotSaved,   NotSaved,   NotSaved,   Yes}},
    {VmVerb::Update,        "UpdateVm",      kEdit,     "",            "",                 false,  {NotDefined, Yes,        Yes,        Yes,        Yes,        NotDefined, NotDefined, Saved}},
    {VmVerb::Delete,        "DeleteVm",      kEdit,     "",            "",                 false,  {Yes,        Yes,        Force,      Force,      Force,      Yes,        Force,      Force}},
    {VmVerb::AttachConsole, "AttachConsole", kOperate,  "console",     "",                 true,   {NotDefined, Yes,        Yes,        Yes,        Yes,        NotDefined, Yes,        Yes}},
  }};
}();
// clang-format on

constexpr const VerbRow& row_of(VmVerb verb) {
  return kVmVerbTable[static_cast<std::size_t>(verb)];
}
/// UNSPECIFIED reads as UNKNOWN.
Verdict verdict_of(VmVerb verb, v1::VirtualMachine::State state);

/// Everything that decides whether a verb is possible.
struct VmFacts {
  std::string uid{};
  std::string display_name{};  ///< empty: messages say "the machine"
  v1::VirtualMachine::State state = v1::VirtualMachine::STATE_UNKNOWN;
  v1::VirtualMachine::Origin origin = v1::VirtualMachine::ORIGIN_MANAGED;
  std::string active_job{};  ///< uid; empty when none
  std::string active_job_kind{};
  std::int64_t active_job_seconds = 0;  ///< how long it has held the machine
  std::string host_display_name{};
  bool host_connected = false;
  bool hypervisor_available = false;
  std::vector<std::string> capabilities{};  ///< sorted
  std::string agent_version{};
  std::vector<std::string> agent_features{};  ///< agreed on with the host's agent
};

enum class Force { No, Yes };

/// Why `verb` is refused now; nothing when it is possible. Aborted/RESOURCE_BUSY first, then
/// FailedPrecondition/ VM_NOT_MANAGED, VM_NOT_STOPPED, VM_NOT_RUNNING, VM_NOT_PAUSED, VM_NOT_SAVED,
/// VM_SAVED, VM_NOT_DEFINED, AGENT_TOO_OLD, NOT_SUPPORTED, and Unavailable/HOST_UNREACHABLE or
/// HYPERVISOR_UNAVAILABLE.
std::optional<Error> refusal(VmVerb verb, const VmFacts& facts, Force force);

/// One entry per verb, in the order of the table. A verb that needs force counts as not allowed,
/// with the remedy in the description. Says nothing that is true of this machine alone, unless a
/// job holds it: machines in the same circumstances share the answer.
google::protobuf::RepeatedPtrField<v1::AllowedAction> allowed_actions(const VmFacts& facts,
                                                                      PermissionSet permissions);

/// FailedPrecondition/AGENT_TOO_OLD naming the host, its agent's version and what it lacks.
Error too_old_error(const std::string& host_display_name, const std::string& agent_version,
                    std::string_view feature);

/// The unfinished job that holds something.
struct HoldingJob {
  std::string uid{};
  std::string kind{};
  std::int64_t seconds = 0;
};
/// Aborted/RESOURCE_BUSY naming the job that holds `resource`, which people call `subject`:
/// "machine 'web-1'".
Error busy_error(const std::string& resource, const std::string& subject, const HoldingJob& job);

}  // namespace reeve::server
