#include "agent/driver/libvirt/error.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

namespace reeve::agent::libvirt {

namespace {

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 2'000;
  std::string out(text.substr(0, kLongest));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  while (!out.empty() && (out.back() == ' ' || out.back() == '.')) out.pop_back();
  return out.empty() ? "libvirt gave no reason" : out;
}

/// Errors that say the daemon or the way to it is gone, whatever call they came from.
bool is_connection_lost(int domain, int code) {
  switch (code) {
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_RPC:
    case VIR_ERR_LIBSSH: return true;
    case VIR_ERR_INTERNAL_ERROR:  // "client socket is closed", "received hangup event"
    case VIR_ERR_SYSTEM_ERROR:    // connect(2), read(2) and write(2) of the transport
      return domain == VIR_FROM_RPC || domain == VIR_FROM_REMOTE;
    default: return false;
  }
}

}  // namespace

Error map_error(int domain, int code, std::string_view text) {
  std::string message = printable(text);
  if (is_connection_lost(domain, code))
    return Error(Code::Unavailable, "HYPERVISOR_DOWN", std::move(message));
  switch (code) {
    case VIR_ERR_NO_DOMAIN: return Error(Code::NotFound, "GUEST_NOT_FOUND", std::move(message));
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_DOM_EXIST:
      return Error(Code::FailedPrecondition, "GUEST_STATE", std::move(message));
    case VIR_ERR_OPERATION_DENIED:  // a read-only connection, or a licence without the right
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
      return Error(Code::PermissionDenied, "HYPERVISOR_DENIED", std::move(message));
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
      return Error(Code::Unimplemented, "NOT_SUPPORTED", std::move(message));
    case VIR_ERR_OPERATION_TIMEOUT:  // another job holds the guest's lock
      return Error(Code::DeadlineExceeded, "HYPERVISOR_BUSY", std::move(message));
    case VIR_ERR_AGENT_UNRESPONSIVE:
    case VIR_ERR_AGENT_UNSYNCED:
      return Error(Code::FailedPrecondition, "GUEST_AGENT_ABSENT", std::move(message));
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_UNKNOWN_HOST:
      return Error(Code::InvalidArgument, "GUEST_INVALID", std::move(message));
    case VIR_ERR_NO_MEMORY:
      return Error(Code::ResourceExhausted, "HOST_NO_MEMORY", std::move(message));
    default: return Error(Code::Internal, "HYPERVISOR_ERROR", std::move(message));
  }
}

Error last_error(std::string_view attempt) {
  const virError* error = virGetLastError();
  if (error == nullptr || error->code == VIR_ERR_OK)
    return Error(Code::Internal, "HYPERVISOR_ERROR", "libvirt failed without an error")
        .during(attempt);
  return map_error(error->domain, error->code, error->message == nullptr ? "" : error->message)
      .during(attempt)
      .with("libvirt_domain", std::to_string(error->domain))
      .with("libvirt_code", std::to_string(error->code));
}

int last_error_code() {
  const virError* error = virGetLastError();
  return error == nullptr ? VIR_ERR_OK : error->code;
}

bool last_error_is_unsupported() {
  switch (last_error_code()) {
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_INVALID_ARG: return true;
    default: return false;
  }
}

}  // namespace reeve::agent::libvirt
