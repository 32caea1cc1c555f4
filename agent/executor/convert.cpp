#include "agent/executor/convert.h"

#include <google/protobuf/util/time_util.h>

namespace reeve::agent {
namespace {

reeve::v1::VirtualMachine::State to_proto(GuestState state) {
  switch (state) {
    case GuestState::Stopped: return reeve::v1::VirtualMachine::STATE_STOPPED;
    case GuestState::Running: return reeve::v1::VirtualMachine::STATE_RUNNING;
    case GuestState::Paused: return reeve::v1::VirtualMachine::STATE_PAUSED;
    case GuestState::Crashed: return reeve::v1::VirtualMachine::STATE_CRASHED;
  }
  return reeve::v1::VirtualMachine::STATE_UNKNOWN;
}

void fill(const GuestFacts& facts, reeve::v1::GuestFacts& out) {
  out.set_host_name(facts.host_name);
  out.set_os_name(facts.os_name);
  out.set_os_id(facts.os_id);
  out.set_os_version(facts.os_version);
  out.set_kernel(facts.kernel_release);
  for (const auto& nic : facts.nics) {
    auto& card = *out.add_nics();
    card.set_name(nic.name);
    card.set_mac(nic.mac);
    for (const auto& address : nic.addresses) card.add_addresses(address);
  }
}

reeve::v1::HypervisorKind kind_of(const std::string& kind) {
  if (kind == "core") return reeve::v1::HYPERVISOR_KIND_CORE;
  if (kind == "libvirt") return reeve::v1::HYPERVISOR_KIND_LIBVIRT;
  if (kind == "sim") return reeve::v1::HYPERVISOR_KIND_SIM;
  return reeve::v1::HYPERVISOR_KIND_UNSPECIFIED;
}

}  // namespace

reeve::v1::ErrorInfo to_proto(const Error& error) {
  reeve::v1::ErrorInfo info;
  info.set_code(static_cast<int>(error.code()));
  info.set_message(error.message());
  auto& detail = *info.mutable_detail();
  detail.set_reason(std::string(error.reason()));
  detail.set_resource(error.resource());
  detail.set_remedy(error.remedy());
  for (const auto& [key, value] : error.metadata()) (*detail.mutable_metadata())[key] = value;
  return info;
}

Error error_of(const reeve::v1::ErrorInfo& info) {
  constexpr int kLastCode = 16;
  const Code code =
      info.code() >= 1 && info.code() <= kLastCode ? static_cast<Code>(info.code()) : Code::Unknown;
  Error error = Error::from_wire(code, info.detail().reason(), info.message())
                    .remedy(info.detail().remedy())
                    .resource(info.detail().resource());
  for (const auto& [key, value] : info.detail().metadata())
    error = std::move(error).with(key, value);
  return error;
}

google::protobuf::Timestamp to_proto(WallTime time) {
  return google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(to_micros(time));
}

v1::GuestSeen to_proto(const GuestSeen& seen, const std::string& hypervisor) {
  v1::GuestSeen out;
  out.set_uid(seen.uid);
  out.set_display_name(seen.display_name);
  out.set_hypervisor(hypervisor);
  out.set_state(seen.saved ? reeve::v1::VirtualMachine::STATE_SAVED : to_proto(seen.state));
  out.set_state_reason(seen.state_reason);
  out.set_managed(seen.managed);
  out.set_cpus(seen.cpus);
  out.set_memory_mib(seen.memory_mib);
  if (seen.start_time) *out.mutable_start_time() = to_proto(*seen.start_time);
  for (const auto& address : seen.addresses) out.add_addresses(address);
  for (const auto& field : seen.pending_restart) out.add_pending_restart(field);
  if (seen.guest) fill(*seen.guest, *out.mutable_guest());
  return out;
}

reeve::v1::Hypervisor to_proto(const DriverFacts& facts, const std::string& id) {
  reeve::v1::Hypervisor out;
  out.set_id(id);
  out.set_kind(kind_of(facts.kind));
  out.set_uri(facts.uri);
  out.set_version(facts.version);
  out.set_available(facts.available);
  out.set_description(facts.description);
  for (const auto& capability : facts.capabilities) out.add_capabilities(capability);
  for (const auto& warning : facts.warnings) out.add_warnings(warning);
  return out;
}

}  // namespace reeve::agent
