#include "base/text.h"
#include "db/repo/vm_repo.h"
#include "server/app/placement.h"
#include "server/app/validate.h"
#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"
#include "server/jobs/recipes/vm_plan.h"

namespace reeve::server::recipes {

namespace {

/// Whether the hypervisor has to hear of it.
enum class Reach { Record, Definition };

Reach merge(const v1::UpdateVmRequest& request, v1::VirtualMachine& vm, Plan& plan) {
  const auto& mask = request.update_mask();
  const auto& wanted = request.vm();
  Reach reach = Reach::Record;
  const auto definition = [&](const char* field, const std::string& before,
                              const std::string& after) {
    if (before == after) return;
    add_diff(plan, field, before, after);
    reach = Reach::Definition;
  };
  if (has_path(mask, "display_name")) {
    definition("display_name", vm.display_name(), wanted.display_name());
    vm.set_display_name(wanted.display_name());
  }
  if (has_path(mask, "spec.cpus")) {
    definition("spec.cpus", std::to_string(vm.spec().cpus()), std::to_string(wanted.spec().cpus()));
    vm.mutable_spec()->set_cpus(wanted.spec().cpus());
  }
  if (has_path(mask, "spec.memory_mib")) {
    definition("spec.memory_mib", std::to_string(vm.spec().memory_mib()),
               std::to_string(wanted.spec().memory_mib()));
    vm.mutable_spec()->set_memory_mib(wanted.spec().memory_mib());
  }
  const auto limit = [&](const char* path, auto before, auto after, const auto& set) {
    if (!has_path(mask, path)) return;
    definition(path, limit_text(before), limit_text(after));
    set(*vm.mutable_spec()->mutable_limits(), after);
  };
  const auto& was = vm.spec().limits();
  const auto& shall = wanted.spec().limits();
  limit("spec.limits.cpu_weight", was.cpu_weight(), shall.cpu_weight(),
        [](auto& limits, auto value) { limits.set_cpu_weight(value); });
  limit("spec.limits.cpu_limit_percent", was.cpu_limit_percent(), shall.cpu_limit_percent(),
        [](auto& limits, auto value) { limits.set_cpu_limit_percent(value); });
  limit("spec.limits.memory_limit_mib", was.memory_limit_mib(), shall.memory_limit_mib(),
        [](auto& limits, auto value) { limits.set_memory_limit_mib(value); });
  if (has_path(mask, "description") && vm.description() != wanted.description()) {
    add_diff(plan, "description", vm.description(), wanted.description());
    vm.set_description(wanted.description());
  }
  if (has_path(mask, "labels")) {
    for (const auto& [key, value] : wanted.labels())
      if (const auto it = vm.labels().find(key); it == vm.labels().end() || it->second != value)
        add_diff(plan, "labels." + key, it == vm.labels().end() ? "" : it->second, value);
    for (const auto& [key, value] : vm.labels())
      if (!wanted.labels().contains(key)) add_diff(plan, "labels." + key, value, "");
    *vm.mutable_labels() = wanted.labels();
  }
  return reach;
}

/// The bounds that a change leaves fit the memory that it leaves, whichever of them it names.
Status check_limits(const v1::VmSpec& before, const v1::VmSpec& after) {
  const bool same = before.memory_mib() == after.memory_mib() &&
                    before.limits().memory_limit_mib() == after.limits().memory_limit_mib();
  FieldCheck check;
  if (!same) check_memory_limit(check, after.limits().memory_limit_mib(), after.memory_mib());
  return check.outcome();
}

/// Says, too, what a machine that is not off gets at its next start only.
std::string definition_title(const Target& target, const v1::VirtualMachine& after) {
  const std::string title = "change the definition";
  const auto state = target.vm.state();
  const bool off =
      state == v1::VirtualMachine::STATE_STOPPED || state == v1::VirtualMachine::STATE_CRASHED;
  std::vector<std::string> waiting;
  if (after.spec().cpus() != target.vm.spec().cpus()) waiting.emplace_back("spec.cpus");
  if (after.spec().memory_mib() != target.vm.spec().memory_mib())
    waiting.emplace_back("spec.memory_mib");
  if (off || waiting.empty()) return title;
  return title + "; " + join(waiting, " and ") + " in effect when it is stopped and started";
}

Status require_free_name(Inventory& inventory, const std::string& name) {
  const auto other = db::VmReader(inventory.tx()).get_by_name(name);
  if (other.ok())
    return Error(Code::AlreadyExists, "NAME_TAKEN", "a machine is called '" + name + "' already")
        .resource(vm_name(other.value().uid))
        .remedy("choose another display_name");
  if (other.error().code() != Code::NotFound) return other.error();
  return inventory.require_free("vm-names/" + name);
}

}  // namespace

Result<Plan> update_vm(Inventory& inventory, const FreshIds&, const v1::UpdateVmRequest& request) {
  const auto target = TRY(
      target_of(inventory, request.vm().name(), request.vm().etag(), VmVerb::Update, Force::No));
  Plan plan = plan_for("UpdateVm", target);
  v1::VirtualMachine after = target.vm;
  const Reach reach = merge(request, after, plan);
  *plan.record.mutable_vm_before() = target.vm;
  *plan.record.mutable_vm_after() = after;
  if (after.display_name() != target.vm.display_name()) {
    TRY(require_free_name(inventory, after.display_name()));
    plan.locks.push_back("vm-names/" + after.display_name());
  }
  TRY(check_limits(target.vm.spec(), after.spec()));
  const auto host = TRY(inventory.host(target.row.host_uid));
  if (has_limits(after.spec()))
    TRY(require_limits(*host, host->hypervisor_by_uid(target.row.hypervisor_uid)));
  const bool grows = after.spec().cpus() > target.vm.spec().cpus() ||
                     after.spec().memory_mib() > target.vm.spec().memory_mib();
  if (grows) TRY(require_possible(*host, after.spec().cpus(), after.spec().memory_mib()));
  if (reach == Reach::Record) {
    add_step(plan, "change the record", "").set_effect("vm_changed");
    return plan;
  }
  auto& step = add_step(plan, definition_title(target, after), target.row.host_uid);
  *step.mutable_action()->mutable_update_guest()->mutable_spec() =
      TRY(guest_spec(inventory, after));
  *step.mutable_undo()->mutable_update_guest()->mutable_spec() =
      TRY(guest_spec(inventory, target.vm));
  step.set_effect("vm_changed");
  step.set_undo_effect("vm_changed_back");
  return plan;
}

}  // namespace reeve::server::recipes
