#include "server/app/vm_state.h"

#include <map>

#include <catch2/catch.hpp>

#include "server/app/words.h"

using namespace reeve;
using namespace reeve::server;
using Vm = v1::VirtualMachine;

namespace {

constexpr std::array kStates{Vm::STATE_CREATING, Vm::STATE_STOPPED, Vm::STATE_RUNNING,
                             Vm::STATE_PAUSED,   Vm::STATE_CRASHED, Vm::STATE_MISSING,
                             Vm::STATE_UNKNOWN,  Vm::STATE_SAVED};

VmFacts a_vm(Vm::State state) {
  return {.uid = "3f0c9c2e-0000-4000-8000-000000000001",
          .display_name = "web",
          .state = state,
          .host_display_name = "host1",
          .host_connected = true,
          .hypervisor_available = true,
          .capabilities = {"console", "pause", "saved-state"},
          .agent_version = "0.1.0",
          .agent_features = {"limits", "saved-state"}};
}

/// What each verb answers in each state, in the order of kStates; "" is possible, "force" needs
/// force.
const std::map<VmVerb, std::array<const char*, 8>> kExpected{
    {VmVerb::Start,
     {"VM_NOT_DEFINED", "", "VM_NOT_STOPPED", "VM_NOT_STOPPED", "", "VM_NOT_DEFINED",
      "VM_NOT_STOPPED", "VM_SAVED"}},
    {VmVerb::Stop,
     {"VM_NOT_RUNNING", "VM_NOT_RUNNING", "", "", "", "VM_NOT_RUNNING", "VM_NOT_RUNNING", "force"}},
    {VmVerb::Reboot,
     {"VM_NOT_RUNNING", "VM_NOT_RUNNING", "", "VM_NOT_RUNNING", "VM_NOT_RUNNING", "VM_NOT_RUNNING",
      "VM_NOT_RUNNING", "VM_NOT_RUNNING"}},
    {VmVerb::Pause,
     {"VM_NOT_RUNNING", "VM_NOT_RUNNING", "", "VM_NOT_RUNNING", "VM_NOT_RUNNING", "VM_NOT_RUNNING",
      "VM_NOT_RUNNING", "VM_NOT_RUNNING"}},
    {VmVerb::Resume,
     {"VM_NOT_PAUSED", "VM_NOT_PAUSED", "VM_NOT_PAUSED", "", "VM_NOT_PAUSED", "VM_NOT_PAUSED",
      "VM_NOT_PAUSED", "VM_NOT_PAUSED"}},
    {VmVerb::Save,
     {"VM_NOT_RUNNING", "VM_NOT_RUNNING", "", "", "VM_NOT_RUNNING", "VM_NOT_RUNNING",
      "VM_NOT_RUNNING", "VM_NOT_RUNNING"}},
    {VmVerb::Restore,
     {"VM_NOT_SAVED", "VM_NOT_SAVED", "VM_NOT_SAVED", "VM_NOT_SAVED", "VM_NOT_SAVED",
      "VM_NOT_SAVED", "VM_NOT_SAVED", ""}},
    {VmVerb::Update,
     {"VM_NOT_DEFINED", "", "", "", "", "VM_NOT_DEFINED", "VM_NOT_DEFINED", "VM_SAVED"}},
    {VmVerb::Delete, {"", "", "force", "force", "force", "", "force", "force"}},
    {VmVerb::AttachConsole, {"VM_NOT_DEFINED", "", "", "", "", "VM_NOT_DEFINED", "", ""}},
};

std::string unforced(Vm::State state) {
  return state == Vm::STATE_SAVED ? "VM_SAVED" : "VM_NOT_STOPPED";
}

std::string reason(const std::optional<Error>& error) {
  return error ? std::string(error->reason()) : "";
}

}  // namespace

TEST_CASE("every verb in every state answers as the table says", "[app]") {
  for (const VmVerb verb : kVmVerbs) {
    for (std::size_t i = 0; i < kStates.size(); ++i) {
      const std::string expected = kExpected.at(verb)[i];
      INFO(row_of(verb).method << " in " << to_word(kStates[i]));
      CHECK(row_of(verb).verb == verb);
      const auto facts = a_vm(kStates[i]);
      CHECK(reason(refusal(verb, facts, Force::No)) ==
            (expected == "force" ? unforced(kStates[i]) : expected));
      CHECK(reason(refusal(verb, facts, Force::Yes)) == (expected == "force" ? "" : expected));
      const auto actions = allowed_actions(facts, PermissionSet::all());
      const auto& action = actions[static_cast<int>(verb)];
      CHECK(action.verb() == row_of(verb).method);
      CHECK(action.allowed() == expected.empty());
      CHECK(action.reason().empty() == expected.empty());
      CHECK(action.description().empty() == expected.empty());
    }
  }
}

TEST_CASE("machines in the same circumstances may do the same, word by word", "[app]") {
  for (const auto state : kStates) {
    const auto one = a_vm(state);
    auto other = a_vm(state);
    other.uid = "3f0c9c2e-0000-4000-8000-000000000002";
    other.display_name = "mail";
    const auto first = allowed_actions(one, PermissionSet::all());
    const auto second = allowed_actions(other, PermissionSet::all());
    REQUIRE(first.size() == second.size());
    for (int i = 0; i < first.size(); ++i)
      CHECK(first[i].SerializeAsString() == second[i].SerializeAsString());
  }
}

TEST_CASE("a job that holds a machine is named, and consoles stay open", "[app]") {
  auto facts = a_vm(Vm::STATE_RUNNING);
  facts.active_job = "aaaa";
  facts.active_job_kind = "StopVm";
  facts.active_job_seconds = 42;
  for (const VmVerb verb : kVmVerbs) {
    const auto error = refusal(verb, facts, Force::Yes);
    if (verb == VmVerb::AttachConsole) {
      CHECK_FALSE(error);
      continue;
    }
    REQUIRE(error);
    CHECK(error->reason() == "RESOURCE_BUSY");
    CHECK(error->message().find("StopVm") != std::string::npos);
    CHECK(error->message().find("42 s") != std::string::npos);
    CHECK(error->metadata().at("job") == "jobs/aaaa");
  }
}

TEST_CASE("a discovered machine can be switched but not changed", "[app]") {
  auto facts = a_vm(Vm::STATE_STOPPED);
  facts.origin = Vm::ORIGIN_DISCOVERED;
  CHECK_FALSE(refusal(VmVerb::Start, facts, Force::No));
  CHECK(reason(refusal(VmVerb::Update, facts, Force::No)) == "VM_NOT_MANAGED");
  CHECK(reason(refusal(VmVerb::Delete, facts, Force::Yes)) == "VM_NOT_MANAGED");
}

TEST_CASE("an unreachable host, a hypervisor that is away, a missing capability, a missing right",
          "[app]") {
  auto away = a_vm(Vm::STATE_STOPPED);
  away.host_connected = false;
  CHECK(reason(refusal(VmVerb::Start, away, Force::No)) == "HOST_UNREACHABLE");
  auto down = a_vm(Vm::STATE_STOPPED);
  down.hypervisor_available = false;
  CHECK(reason(refusal(VmVerb::Start, down, Force::No)) == "HYPERVISOR_UNAVAILABLE");
  auto poor = a_vm(Vm::STATE_RUNNING);
  poor.capabilities = {"console"};
  CHECK(reason(refusal(VmVerb::Pause, poor, Force::No)) == "NOT_SUPPORTED");
  auto old = a_vm(Vm::STATE_RUNNING);
  old.agent_version = "0.0.9";
  old.agent_features = {"limits"};
  const auto too_old = refusal(VmVerb::Save, old, Force::No);
  REQUIRE(reason(too_old) == "AGENT_TOO_OLD");
  CHECK(too_old->message() ==
        "the agent of host 'host1', version 0.0.9, does not have 'saved-state'");
  CHECK_FALSE(too_old->remedy().empty());
  CHECK_FALSE(refusal(VmVerb::Pause, old, Force::No));
  const auto viewer = PermissionSet{}.with(v1::PERMISSION_VIEW);
  for (const auto& action : allowed_actions(a_vm(Vm::STATE_RUNNING), viewer)) {
    CHECK_FALSE(action.allowed());
    CHECK(action.reason() == "NOT_PERMITTED");
  }
}
