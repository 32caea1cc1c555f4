// agent/driver/libvirt/error.h - libvirt's errors as ours: the only place that reads and maps them.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace reeve::agent::libvirt {

/// The calling thread's last libvirt error, mapped by (domain, code), never by text:
///   NotFound/GUEST_NOT_FOUND, FailedPrecondition/GUEST_STATE, Unavailable/HYPERVISOR_DOWN,
///   DeadlineExceeded/HYPERVISOR_BUSY, InvalidArgument/GUEST_INVALID, Unimplemented/NOT_SUPPORTED,
///   PermissionDenied/HYPERVISOR_DENIED, FailedPrecondition/GUEST_AGENT_ABSENT,
///   ResourceExhausted/HOST_NO_MEMORY, Internal/HYPERVISOR_ERROR (all else).
/// `attempt` says what was tried. Metadata carries "libvirt_domain" and "libvirt_code".
Error last_error(std::string_view attempt);

/// The mapping itself. Messages longer than 2,000 bytes are cut; control characters become spaces.
Error map_error(int domain, int code, std::string_view message);

/// libvirt's own number (VIR_ERR_...) of this thread's last error; 0 when there is none.
int last_error_code();

/// True when the last error of this thread says that a function or a flag of it is not supported:
/// drivers disagree on how to say that of a flag.
bool last_error_is_unsupported();

}  // namespace reeve::agent::libvirt
