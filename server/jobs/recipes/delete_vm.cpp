#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"
#include "server/jobs/recipes/vm_plan.h"

namespace reeve::server::recipes {

Result<Plan> delete_vm(Inventory& inventory, const FreshIds&, const v1::DeleteVmRequest& request) {
  const auto target = TRY(target_of(inventory, request.name(), request.etag(), VmVerb::Delete,
                                    request.force() ? Force::Yes : Force::No));
  Plan plan = plan_for("DeleteVm", target);
  add_diff(plan, "display_name", target.row.name, "");
  for (const auto& disk : target.vm.spec().disks())
    add_diff(plan, "spec.disks." + disk.id(), std::to_string(disk.size_bytes()) + " bytes", "");
  plan.record.mutable_view()->set_expected_outage("for ever");
  const auto& host = target.row.host_uid;

  if (vm_state_of(target.row.state) != v1::VirtualMachine::STATE_STOPPED) {
    auto& off = add_step(plan, "power off the machine", host);
    set_guest(*off.mutable_action()->mutable_stop_guest(), target);
  }
  auto& undefine = add_step(plan, "undefine the machine", host);
  set_guest(*undefine.mutable_action()->mutable_undefine_guest(), target);
  *undefine.mutable_undo()->mutable_define_guest()->mutable_spec() =
      TRY(guest_spec(inventory, target.vm));

  auto& files = add_step(plan, "remove the disks", host);
  set_guest(*files.mutable_action()->mutable_remove_guest_files(), target);
  files.set_effect("vm_forgotten");
  files.set_no_return(true);
  return plan;
}

}  // namespace reeve::server::recipes
