// hypervisor_core/control/said.h - makes what a machine's process says fit to be passed on.
//
// That process may have been taken over by its guest. Its words go into logs, into errors and into
// the host's report with those of all other machines, none of which may become too long or
// unreadable by them.
#pragma once

#include <cstddef>
#include <string>

#include "reeve/core/v1/control.pb.h"
#include "reeve/core/v1/machine.pb.h"

namespace reeve::core::control {

/// What is kept of a text for a person, in bytes, and of an exit's registers.
inline constexpr std::size_t kMaxText = 1024, kMaxRegisters = 4096;

/// At most `most` bytes of `text`, which is UTF-8 and remains it; control characters but line ends
/// become spaces.
std::string passable(std::string text, std::size_t most = kMaxText);

/// Makes the texts for a person passable, reasons of errors what a Reason may be or VMM_FAULTY.
/// Answers of the guest's agent and console output are the guest's own and stay what they are.
void make_passable(v1::ControlMessage& message);
void make_passable(v1::ExitReport& report);

}  // namespace reeve::core::control
