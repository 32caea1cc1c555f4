#include "server/jobs/recipes/vm_plan.h"

#include "base/text.h"
#include "db/repo/image_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server::recipes {

Result<Target> target_of(Inventory& inventory, const std::string& name, const std::string& etag,
                         VmVerb verb, Force force) {
  Target target;
  const auto uid = TRY(uid_of(name, "vms", "name"));
  target.row = TRY(db::VmReader(inventory.tx()).get(uid));
  if (!etag.empty() && etag != target.row.etag)
    return Error(Code::Aborted, "STALE_ETAG", "machine '" + target.row.name + "' has changed since")
        .resource(name)
        .remedy("read it again and repeat the call with its new etag");
  const auto facts = TRY(inventory.facts(target.row));
  if (auto error = refusal(verb, facts, force)) return std::move(*error);
  target.vm = TRY(to_proto(target.row));
  const auto host = TRY(inventory.host(target.row.host_uid));
  if (const auto* hypervisor = host->hypervisor_by_uid(target.row.hypervisor_uid))
    target.hypervisor_id = hypervisor->row.name;
  return target;
}

Plan plan_for(const char* kind, const Target& target) {
  Plan plan{.kind = kind,
            .target_kind = "vm",
            .target_uid = target.row.uid,
            .target_name = target.row.name,
            .host_uid = target.row.host_uid,
            .locks = {vm_name(target.row.uid)}};
  plan.record.set_vm_uid(target.row.uid);
  plan.record.set_hypervisor_uid(target.row.hypervisor_uid);
  plan.record.set_begin_effect("vm_touched");
  plan.record.set_undone_effect("vm_touched");
  plan.record.set_abandon_effect("vm_doubtful");
  return plan;
}

namespace {

void fill_devices(const v1::VmSpec& spec, agent::v1::GuestSpec& guest) {
  for (const auto& nic : spec.nics()) {
    auto& out = *guest.add_nics();
    out.set_id(nic.id());
    out.set_mac(nic.mac());
    out.set_bridge(nic.bridge());
  }
  if (!spec.has_cloud_init()) return;
  guest.mutable_seed()->set_user_data(spec.cloud_init().user_data());
  guest.mutable_seed()->set_meta_data(spec.cloud_init().meta_data());
  guest.mutable_seed()->set_network_config(spec.cloud_init().network_config());
}

std::string uid_part(const std::string& name) {
  return name.substr(name.find('/') + 1);
}

}  // namespace

bool has_limits(const v1::VmSpec& spec) {
  const auto& limits = spec.limits();
  return limits.cpu_weight() != 0 || limits.cpu_limit_percent() != 0 ||
         limits.memory_limit_mib() != 0;
}

std::string limit_text(std::int64_t value) {
  return value == 0 ? "default" : std::to_string(value);
}

Result<agent::v1::GuestSpec> guest_spec(Inventory& inventory, const v1::VirtualMachine& vm) {
  const auto& spec = vm.spec();
  agent::v1::GuestSpec guest;
  guest.set_uid(vm.uid());
  guest.set_display_name(vm.display_name());
  guest.set_hypervisor(spec.hypervisor());
  guest.set_cpus(spec.cpus());
  guest.set_memory_mib(spec.memory_mib());
  guest.set_guest_agent(spec.guest_agent());
  if (has_limits(spec)) *guest.mutable_limits() = spec.limits();
  for (const auto& disk : spec.disks()) {
    auto& out = *guest.add_disks();
    out.set_id(disk.id());
    out.set_size_bytes(disk.size_bytes());
    out.set_format(disk.format());
    out.set_read_only(disk.read_only());
    if (disk.image().empty()) continue;
    const auto image = TRY(db::ImageReader(inventory.tx()).get(uid_part(disk.image())));
    const auto format = disk_format_of(image.format);
    out.set_image(image.uid);
    out.set_image_format(format == v1::DISK_FORMAT_UNSPECIFIED ? v1::DISK_FORMAT_RAW : format);
  }
  if (spec.has_boot()) {
    guest.set_kernel_image(uid_part(spec.boot().kernel()));
    if (!spec.boot().initrd().empty()) guest.set_initrd_image(uid_part(spec.boot().initrd()));
    guest.set_command_line(spec.boot().command_line());
  }
  fill_devices(spec, guest);
  return guest;
}

std::string waits_for_start(const std::vector<std::string>& fields) {
  return "; " + join(fields, ", ") + (fields.size() == 1 ? " waits" : " wait") +
         " until it is stopped and started";
}

}  // namespace reeve::server::recipes
