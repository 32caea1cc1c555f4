// agent/driver/core/seen.h - what a record, a status and an exit report say about a machine.
#pragma once

#include <optional>
#include <string>

#include "agent/driver/driver.h"
#include "reeve/core/v1/control.pb.h"
#include "reeve/core/v1/guest_record.pb.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::agent::core_driver {

/// The folder of its vmm process.
std::string vmm_folder(const core::v1::GuestRecord& record);
/// In there: a saved state while it is written, and until it is where it belongs.
inline constexpr const char* kSavedFile = "saved.state";

/// A machine whose process answers.
GuestSeen seen_running(const core::v1::GuestRecord& record, const core::v1::MachineStatus& status);
/// A machine without a process: the agent has noted why, or its exit report says how it ended, and
/// without one its warden has ended too, or the host went down (`boot_id` is the present one).
GuestSeen seen_off(const core::v1::GuestRecord& record, const std::string& boot_id);

/// How the processor of a machine that ended saw it: the report's message with the instruction and
/// the first registers, in one line.
std::string in_short(const core::v1::ExitReport& report);
/// The report that a machine's last process left; nothing when there is none.
std::optional<core::v1::ExitReport> report_of(const core::v1::GuestRecord& record);

/// `rss_mib` is the memory of the process.
GuestUse use_of(const core::v1::GuestRecord& record, const core::v1::MachineStatus& status,
                std::int64_t rss_mib);

const char* name_of(GuestState state);
/// FailedPrecondition/GUEST_STATE.
Error wrong_state(const GuestSeen& seen);

}  // namespace reeve::agent::core_driver
