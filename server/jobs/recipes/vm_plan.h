// server/jobs/recipes/vm_plan.h - what the recipes on machines share.
#pragma once

#include <string>
#include <vector>

#include "reeve/agent/v1/guest.pb.h"
#include "server/app/vm_state.h"
#include "server/jobs/plan.h"

namespace reeve::server::recipes {

/// A machine that a verb was found possible on.
struct Target {
  db::Vm row{};
  v1::VirtualMachine vm{};
  std::string hypervisor_id{};
};

/// Finds the machine of `name`, holds it against `etag` and the verb. NotFound/VM_NOT_FOUND,
/// Aborted/STALE_ETAG, and what refusal() says.
Result<Target> target_of(Inventory& inventory, const std::string& name, const std::string& etag,
                         VmVerb verb, Force force);

/// A plan on an existing machine: locks, target and host are set.
Plan plan_for(const char* kind, const Target& target);

/// The machine as its agent is told to make it. Its spec has been resolved: ids, sizes, addresses.
/// NotFound/IMAGE_NOT_FOUND.
Result<agent::v1::GuestSpec> guest_spec(Inventory& inventory, const v1::VirtualMachine& vm);

/// True when any of its limits is not the default.
bool has_limits(const v1::VmSpec& spec);
/// As a plan shows it: "default" for 0.
std::string limit_text(std::int64_t value);

/// What a step's title adds about changes that a running machine does not take over.
std::string waits_for_start(const std::vector<std::string>& fields);

/// Fills uid and hypervisor of any of the guest actions that have both.
template <class Action>
void set_guest(Action& action, const Target& target) {
  action.set_uid(target.row.uid);
  action.set_hypervisor(target.hypervisor_id);
}

}  // namespace reeve::server::recipes
