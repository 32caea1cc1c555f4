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

}  // namespace

Result<Plan> start_vm(Inventory& inventory, const FreshIds&, const v1::StartVmRequest& request) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Start, Force::No));
  TRY(require_room_to_start(inventory, target.row));
  Plan plan = plan_for("StartVm", target);
  add_state_diff(plan, target, v1::VirtualMachine::STATE_RUNNING);
  auto& step = add_step(plan, "start the machine", target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_start_guest(), target);
  step.set_effect("vm_running");
  return plan;
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
  auto& step =
      add_step(plan, grace == 0 ? "reset the machine" : "restart the guest", target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_reboot_guest(), target);
  step.mutable_action()->mutable_reboot_guest()->set_grace_ms(grace);
  step.set_effect("vm_running");
  return plan;
}

Result<Plan> pause_vm(Inventory& inventory, const FreshIds&, const v1::PauseVmRequest& request) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Pause, Force::No));
  Plan plan = plan_for("PauseVm", target);
  add_state_diff(plan, target, v1::VirtualMachine::STATE_PAUSED);
  plan.record.mutable_view()->set_expected_outage("until it is resumed");
  auto& step = add_step(plan, "pause the machine", target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_pause_guest(), target);
  step.set_effect("vm_paused");
  return plan;
}

Result<Plan> resume_vm(Inventory& inventory, const FreshIds&, const v1::ResumeVmRequest& request) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Resume, Force::No));
  Plan plan = plan_for("ResumeVm", target);
  add_state_diff(plan, target, v1::VirtualMachine::STATE_RUNNING);
  auto& step = add_step(plan, "resume the machine", target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_resume_guest(), target);
  step.set_effect("vm_resumed");
  return plan;
}

Result<Plan> save_vm(Inventory& inventory, const FreshIds&, const v1::SaveVmRequest& request) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Save, Force::No));
  Plan plan = plan_for("SaveVm", target);
  add_state_diff(plan, target, v1::VirtualMachine::STATE_SAVED);
  plan.record.mutable_view()->set_expected_outage("until it is restored");
  auto& step = add_step(plan, "save the machine", target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_save_guest(), target);
  step.set_effect("vm_saved");
  return plan;
}

Result<Plan> restore_vm(Inventory& inventory, const FreshIds&,
                        const v1::RestoreVmRequest& request) {
  const auto target =
      TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Restore, Force::No));
  TRY(require_room_to_start(inventory, target.row));
  Plan plan = plan_for("RestoreVm", target);
  add_state_diff(plan, target, v1::VirtualMachine::STATE_RUNNING);
  auto& step = add_step(plan, "restore the machine", target.row.host_uid);
  set_guest(*step.mutable_action()->mutable_restore_guest(), target);
  step.set_effect("vm_running");
  return plan;
}

}  // namespace reeve::server::recipes
