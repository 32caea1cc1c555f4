// The verbs that change the power state: one step each, nothing to undo.
#include <chrono>

#include "server/app/placement.h"
#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"
#include "server/jobs/recipes/vm_plan.h"

namespace reeve::server::recipes {

namespace {

std::int64_t grace_ms(bool given, const google::protobuf::Duration& grace) {
  constexpr std::chrono::milliseconds kDefaultGrace{60'000};
  if (!given) return kDefaultGrace.count();
  return grace.seconds() * 1000 + grace.nanos() / 1'000'000;
}

void add_state_diff(Plan& plan, const Target& target, v1::VirtualMachine::State after) {
  add_diff(plan, "state", target.row.state, to_word(after));
}

/// A verb whose plan is one step that takes the machine's uid and nothing else.
struct OneStep {
  const char* kind;
  VmVerb verb;
  const char* title;
  const char* effect;
  v1::VirtualMachine::State after;
  const char* outage = "";  ///< for whoever uses the machine
};

template <class Request, class Guest>
Result<Plan> one_step(Inventory& inventory, const Request& request, const OneStep& what,
                      Guest* (agent::v1::Action::*guest)()) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), what.verb, Force::No));
  if (what.verb == VmVerb::Start || what.verb == VmVerb::Restore)
    TRY(require_room_to_start(inventory, target.row));
  Plan plan = plan_for(what.kind, target);
  add_state_diff(plan, target, what.after);
  plan.record.mutable_view()->set_expected_outage(what.outage);
  auto& step = add_step(plan, what.title, target.row.host_uid);
  set_guest(*(step.mutable_action()->*guest)(), target);
  step.set_effect(what.effect);
  return plan;
}

}  // namespace

Result<Plan> start_vm(Inventory& inventory, const FreshIds&, const v1::StartVmRequest& request) {
  return one_step(inventory, request,
                  {.kind = "StartVm",
                   .verb = VmVerb::Start,
                   .title = "start the machine",
                   .effect = "vm_running",
                   .after = v1::VirtualMachine::STATE_RUNNING},
                  &agent::v1::Action::mutable_start_guest);
}

Result<Plan> stop_vm(Inventory& inventory, const FreshIds&, const v1::StopVmRequest& request) {
  const auto grace = grace_ms(request.has_grace(), request.grace());
  const auto target = TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Stop,
                                    grace == 0 ? Force::Yes : Force::No));
  Plan plan = plan_for("StopVm", target);
  add_state_diff(plan, target, v1::VirtualMachine::STATE_STOPPED);
  plan.record.mutable_view()->set_expected_outage("until it is started again");
  auto& step = add_step(plan, grace == 0 ? "power off the machine" : "shut down the guest",
                        target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_stop_guest(), target);
  step.mutable_action()->mutable_stop_guest()->set_grace_ms(grace);
  step.set_effect("vm_stopped");
  return plan;
}

Result<Plan> reboot_vm(Inventory& inventory, const FreshIds&, const v1::RebootVmRequest& request) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Reboot, Force::No));
  Plan plan = plan_for("RebootVm", target);
  const auto grace = grace_ms(request.has_grace(), request.grace());
  plan.record.mutable_view()->set_expected_outage("while the guest restarts");
  std::string title = grace == 0 ? "reset the machine" : "restart the guest";
  // The hypervisor's process goes on, and with it the definition it was started with.
  if (const auto& waiting = target.vm.status().pending_restart(); !waiting.empty())
    title += waits_for_start({waiting.begin(), waiting.end()});
  auto& step = add_step(plan, title, target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_reboot_guest(), target);
  step.mutable_action()->mutable_reboot_guest()->set_grace_ms(grace);
  step.set_effect("vm_goes_on");
  return plan;
}

Result<Plan> pause_vm(Inventory& inventory, const FreshIds&, const v1::PauseVmRequest& request) {
  return one_step(inventory, request,
                  {.kind = "PauseVm",
                   .verb = VmVerb::Pause,
                   .title = "pause the machine",
                   .effect = "vm_paused",
                   .after = v1::VirtualMachine::STATE_PAUSED,
                   .outage = "until it is resumed"},
                  &agent::v1::Action::mutable_pause_guest);
}

Result<Plan> resume_vm(Inventory& inventory, const FreshIds&, const v1::ResumeVmRequest& request) {
  return one_step(inventory, request,
                  {.kind = "ResumeVm",
                   .verb = VmVerb::Resume,
                   .title = "resume the machine",
                   .effect = "vm_goes_on",
                   .after = v1::VirtualMachine::STATE_RUNNING},
                  &agent::v1::Action::mutable_resume_guest);
}

Result<Plan> save_vm(Inventory& inventory, const FreshIds&, const v1::SaveVmRequest& request) {
  return one_step(inventory, request,
                  {.kind = "SaveVm",
                   .verb = VmVerb::Save,
                   .title = "save the machine",
                   .effect = "vm_saved",
                   .after = v1::VirtualMachine::STATE_SAVED,
                   .outage = "until it is restored"},
                  &agent::v1::Action::mutable_save_guest);
}

Result<Plan> restore_vm(Inventory& inventory, const FreshIds&,
                        const v1::RestoreVmRequest& request) {
  return one_step(inventory, request,
                  {.kind = "RestoreVm",
                   .verb = VmVerb::Restore,
                   .title = "restore the machine",
                   .effect = "vm_running",
                   .after = v1::VirtualMachine::STATE_RUNNING},
                  &agent::v1::Action::mutable_restore_guest);
}

}  // namespace reeve::server::recipes
