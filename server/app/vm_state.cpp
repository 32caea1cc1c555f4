#include "server/app/vm_state.h"

#include <algorithm>

#include "server/app/words.h"

namespace reeve::server {

namespace {

std::string subject(const VmFacts& facts) {
  return facts.display_name.empty() ? "the machine" : "machine '" + facts.display_name + "'";
}

std::string said(const VmFacts& facts, std::string_view needed) {
  return subject(facts) + " is " + to_word(facts.state) + ", not " + std::string(needed);
}

Error about(const VmFacts& facts, Error error, std::string remedy) {
  return std::move(error)
      .resource(vm_name(facts.uid))
      .remedy(std::move(remedy))
      .with("state", to_word(facts.state));
}

Error not_stopped(const VmFacts& facts, std::string remedy) {
  return about(facts, Error(Code::FailedPrecondition, "VM_NOT_STOPPED", said(facts, "stopped")),
               std::move(remedy));
}

Error is_saved(const VmFacts& facts, std::string remedy) {
  return about(facts,
               Error(Code::FailedPrecondition, "VM_SAVED",
                     subject(facts) + " is saved: its memory is in a file"),
               std::move(remedy));
}

std::optional<Error> state_refusal(VmVerb verb, const VmFacts& facts, Force force) {
  const bool unknown = facts.state == v1::VirtualMachine::STATE_UNKNOWN;
  switch (verdict_of(verb, facts.state)) {
    case Verdict::Yes: return {};
    case Verdict::Force:
      if (force == Force::Yes) return {};
      if (facts.state == v1::VirtualMachine::STATE_SAVED)
        return is_saved(
            facts,
            "restore it first, or drop its saved memory: stop it with a grace of 0, delete "
            "it with force");
      return not_stopped(facts, "stop it first, or repeat the call with force to power it off");
    case Verdict::NotStopped:
      return not_stopped(
          facts, unknown ? "make its host and hypervisor reachable, so that its state can be seen"
                         : "stop it first");
    case Verdict::NotRunning:
      return about(facts, Error(Code::FailedPrecondition, "VM_NOT_RUNNING", said(facts, "running")),
                   "start it first");
    case Verdict::NotPaused:
      return about(facts, Error(Code::FailedPrecondition, "VM_NOT_PAUSED", said(facts, "paused")),
                   "pause it first");
    case Verdict::NotSaved:
      return about(facts, Error(Code::FailedPrecondition, "VM_NOT_SAVED", said(facts, "saved")),
                   "save it first");
    case Verdict::Saved:
      return is_saved(facts, "restore it, or drop its saved memory: stop it with a grace of 0");
    case Verdict::NotDefined:
      return about(
          facts,
          Error(Code::FailedPrecondition, "VM_NOT_DEFINED", said(facts, "defined on its host")),
          "delete it and create it again, or bring it back on its host");
  }
  return {};
}

std::optional<Error> place_refusal(const VerbRow& row, const VmFacts& facts) {
  if (!facts.host_connected)
    return Error(
               Code::Unavailable, "HOST_UNREACHABLE",
               "host '" + facts.host_display_name + "' of " + subject(facts) + " is not connected")
        .resource(vm_name(facts.uid))
        .remedy("start reeve-agent on the host, or check the network between it and the server");
  if (!row.feature.empty() &&
      std::ranges::find(facts.agent_features, row.feature) == facts.agent_features.end())
    return too_old_error(facts.host_display_name, facts.agent_version, row.feature)
        .resource(vm_name(facts.uid));
  if (!facts.hypervisor_available)
    return Error(Code::Unavailable, "HYPERVISOR_UNAVAILABLE",
                 "the hypervisor of " + subject(facts) + " does not answer")
        .resource(vm_name(facts.uid))
        .remedy("see the hypervisor's description on the host for why");
  if (!row.capability.empty() && !std::ranges::binary_search(facts.capabilities, row.capability))
    return Error(Code::FailedPrecondition, "NOT_SUPPORTED",
                 "the hypervisor of " + subject(facts) + " cannot do " + std::string(row.method))
        .resource(vm_name(facts.uid))
        .with("capability", std::string(row.capability));
  return {};
}

}  // namespace

Verdict verdict_of(VmVerb verb, v1::VirtualMachine::State state) {
  if (state < v1::VirtualMachine::STATE_CREATING || state > v1::VirtualMachine::STATE_SAVED)
    state = v1::VirtualMachine::STATE_UNKNOWN;
  return row_of(verb).states[static_cast<std::size_t>(state) - 1];
}

std::optional<Error> refusal(VmVerb verb, const VmFacts& facts, Force force) {
  const VerbRow& row = row_of(verb);
  const bool changes = verb != VmVerb::AttachConsole;
  if (changes && !facts.active_job.empty())
    return busy_error(vm_name(facts.uid), subject(facts),
                      {facts.active_job, facts.active_job_kind, facts.active_job_seconds});
  if (!row.discovered && facts.origin != v1::VirtualMachine::ORIGIN_MANAGED)
    return Error(Code::FailedPrecondition, "VM_NOT_MANAGED",
                 subject(facts) + " was not made by Reeve: only its power state can be changed")
        .resource(vm_name(facts.uid))
        .remedy("change or delete it with the tools of its hypervisor");
  if (auto error = state_refusal(verb, facts, force)) return error;
  return place_refusal(row, facts);
}

google::protobuf::RepeatedPtrField<v1::AllowedAction> allowed_actions(const VmFacts& machine,
                                                                      PermissionSet permissions) {
  VmFacts facts = machine;
  facts.display_name.clear();
  google::protobuf::RepeatedPtrField<v1::AllowedAction> actions;
  for (const VerbRow& row : kVmVerbTable) {
    auto& action = *actions.Add();
    action.set_verb(std::string(row.method));
    if (!permissions.has(row.permission)) {
      action.set_reason("NOT_PERMITTED");
      action.set_description("your role does not allow this");
      continue;
    }
    const auto error = refusal(row.verb, facts, Force::No);
    action.set_allowed(!error);
    if (!error) continue;
    action.set_reason(std::string(error->reason()));
    action.set_description(error->message() +
                           (error->remedy().empty() ? "" : "; " + error->remedy()));
  }
  return actions;
}

Error too_old_error(const std::string& host_display_name, const std::string& agent_version,
                    std::string_view feature) {
  return Error(Code::FailedPrecondition, "AGENT_TOO_OLD",
               "the agent of host '" + host_display_name + "', version " +
                   (agent_version.empty() ? "unknown" : agent_version) + ", does not have '" +
                   std::string(feature) + "'")
      .remedy("install the server's version of reeve-agent on the host: its machines run on")
      .with("agent_version", agent_version)
      .with("feature", std::string(feature));
}

Error busy_error(const std::string& resource, const std::string& subject, const HoldingJob& job) {
  return Error(Code::Aborted, "RESOURCE_BUSY",
               subject + " is held by the " + job.kind + " job " + job_name(job.uid) + " since " +
                   std::to_string(job.seconds) + " s")
      .resource(resource)
      .remedy("wait for " + job_name(job.uid) + ", or cancel it")
      .with("job", job_name(job.uid))
      .with("job_kind", job.kind)
      .with("held_seconds", std::to_string(job.seconds));
}

}  // namespace reeve::server
