#include <algorithm>
#include <set>

#include "base/text.h"
#include "db/repo/image_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/errors.h"
#include "server/app/placement.h"
#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"
#include "server/jobs/recipes/vm_plan.h"

namespace reeve::server::recipes {

namespace {

/// The images a machine is made from, and the host that has them all.
struct Images {
  std::string host_uid{};
  std::string display_name{};  ///< of the one that decided the host
};

Result<db::Image> usable_image(Inventory& inventory, const std::string& name,
                               std::string_view field, const std::set<v1::Image::Kind>& kinds,
                               Images& images) {
  const auto uid = TRY(uid_of(name, "images", field));
  auto row = TRY(db::ImageReader(inventory.tx()).get(uid));
  TRY(inventory.require_free(image_name(row.uid)));
  if (image_state_of(row.state) != v1::Image::STATE_READY)
    return Error(Code::FailedPrecondition, "IMAGE_NOT_READY",
                 "image '" + row.name + "' is " + row.state + ", not ready")
        .resource(name);
  if (!kinds.contains(image_kind_of(row.kind)))
    return bad_field(field, "names image '" + row.name + "', which is a " + row.kind);
  if (!images.host_uid.empty() && images.host_uid != row.host_uid)
    return Error(
               Code::FailedPrecondition, "IMAGES_APART",
               "images '" + images.display_name + "' and '" + row.name + "' are on different hosts")
        .remedy("import both to one host");
  images = {row.host_uid, row.name};
  return row;
}

/// A device id that nobody in the list has: "disk0", "disk1", ...
template <class List>
std::string free_id(const char* prefix, const List& devices) {
  for (int number = 0;; ++number) {
    auto id = prefix + std::to_string(number);
    if (std::ranges::none_of(devices, [&](const auto& d) { return d.id() == id; })) return id;
  }
}

Status resolve_disks(Inventory& inventory, v1::VmSpec& spec, Images& images) {
  for (int i = 0; i < spec.disks_size(); ++i) {
    auto& disk = *spec.mutable_disks(i);
    const std::string field = "vm.spec.disks[" + std::to_string(i) + "]";
    if (disk.id().empty()) disk.set_id(free_id("disk", spec.disks()));
    if (disk.format() == v1::DISK_FORMAT_UNSPECIFIED) disk.set_format(v1::DISK_FORMAT_QCOW2);
    if (disk.image().empty()) continue;
    const auto row = TRY(usable_image(inventory, disk.image(), field + ".image",
                                      {v1::Image::KIND_DISK, v1::Image::KIND_ISO}, images));
    const auto image = TRY(inventory.show(row, PermissionSet{}));
    if (image.kind() == v1::Image::KIND_ISO) disk.set_read_only(true);
    // A disk is made of whole sectors; an image of another length is padded by its overlay.
    const std::int64_t least = (image.virtual_size_bytes() + 511) / 512 * 512;
    if (disk.size_bytes() != 0 && disk.size_bytes() < least)
      return bad_field(field + ".size_bytes", "is smaller than image '" + row.name +
                                                  "', which has " + std::to_string(least));
    if (disk.size_bytes() == 0) disk.set_size_bytes(least);
  }
  return {};
}

Status resolve_nics(Inventory& inventory, const FreshIds& ids, v1::VmSpec& spec) {
  std::set<std::string> macs;
  for (const auto& nic : spec.nics()) {
    if (nic.mac().empty()) continue;
    TRY(require_free_mac(inventory.tx(), nic.mac()));
    macs.insert(nic.mac());
  }
  for (int i = 0; i < spec.nics_size(); ++i) {
    auto& nic = *spec.mutable_nics(i);
    if (nic.id().empty()) nic.set_id(free_id("nic", spec.nics()));
    if (!nic.mac().empty()) continue;
    const auto number = ids.mac_numbers.at(static_cast<std::size_t>(i));
    nic.set_mac(TRY(ids.macs.free_address(inventory.tx(), number, macs)));
    macs.insert(nic.mac());
  }
  return {};
}

void resolve_seed(v1::VirtualMachine& vm) {
  if (!vm.spec().has_cloud_init()) return;
  auto& seed = *vm.mutable_spec()->mutable_cloud_init();
  if (seed.meta_data().empty())
    seed.set_meta_data("instance-id: " + vm.uid() + "\nlocal-hostname: " + vm.display_name() +
                       "\n");
}

Result<Placed> resolve(Inventory& inventory, const FreshIds& ids, v1::VirtualMachine& vm) {
  auto& spec = *vm.mutable_spec();
  Images images;
  TRY(resolve_disks(inventory, spec, images));
  TRY(resolve_nics(inventory, ids, spec));
  if (spec.has_boot()) {
    TRY(usable_image(inventory, spec.boot().kernel(), "vm.spec.boot.kernel",
                     {v1::Image::KIND_KERNEL}, images));
    if (!spec.boot().initrd().empty())
      TRY(usable_image(inventory, spec.boot().initrd(), "vm.spec.boot.initrd",
                       {v1::Image::KIND_INITRD}, images));
  }
  resolve_seed(vm);
  PlacementRequest request{.hypervisor_id = spec.hypervisor(),
                           .cpus = spec.cpus(),
                           .memory_mib = spec.memory_mib(),
                           .image_host_uid = images.host_uid,
                           .image_display_name = images.display_name,
                           .has_kernel = !spec.boot().kernel().empty(),
                           .limits = has_limits(spec)};
  if (!spec.host().empty()) request.host_uid = TRY(uid_of(spec.host(), "hosts", "vm.spec.host"));
  for (const auto& nic : spec.nics()) {
    if (nic.bridge().empty()) request.user_network = true;
    if (!nic.bridge().empty()) request.bridges.push_back(nic.bridge());
  }
  auto placed = TRY(place(inventory, request));
  spec.set_host(host_name(placed.host->row.uid));
  spec.set_hypervisor(placed.hypervisor->row.name);
  return placed;
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

void describe_limits(Plan& plan, const v1::ResourceLimits& limits) {
  const auto describe_limit = [&](const char* field, std::int64_t value) {
    if (value != 0) add_diff(plan, field, limit_text(0), limit_text(value));
  };
  describe_limit("spec.limits.cpu_weight", limits.cpu_weight());
  describe_limit("spec.limits.cpu_limit_percent", limits.cpu_limit_percent());
  describe_limit("spec.limits.memory_limit_mib", limits.memory_limit_mib());
}

/// The parts that were given, with sizes: their content is nobody's business.
std::string seed_text(const v1::CloudInit& seed) {
  std::vector<std::string> parts;
  const auto part = [&parts](const char* name, const std::string& text) {
    if (!text.empty()) parts.push_back(name + (" of " + std::to_string(text.size()) + " bytes"));
  };
  part("user-data", seed.user_data());
  part("meta-data", seed.meta_data());
  part("network-config", seed.network_config());
  return parts.empty() ? "made by the server" : join(parts, ", ");
}

/// What a plan shows of a new machine. An address that is drawn is not in a plan that is only asked
/// for: it would be another one the next time.
void describe(Plan& plan, const v1::VirtualMachine& vm, const v1::CreateVmRequest& request) {
  const auto& spec = vm.spec();
  const auto add = [&plan](const std::string& field, const std::string& after) {
    if (!after.empty()) add_diff(plan, field, "", after);
  };
  add("display_name", vm.display_name());
  add("description", vm.description());
  for (const auto& [key, value] : vm.labels()) add_diff(plan, "labels." + key, "", value);
  add("spec.host", spec.host());
  add("spec.hypervisor", spec.hypervisor());
  add("spec.cpus", std::to_string(spec.cpus()));
  add("spec.memory_mib", std::to_string(spec.memory_mib()));
  describe_limits(plan, spec.limits());
  for (const auto& disk : spec.disks())
    add("spec.disks." + disk.id(), std::to_string(disk.size_bytes()) + " bytes" +
                                       (disk.image().empty() ? "" : " over " + disk.image()));
  for (int i = 0; i < spec.nics_size(); ++i) {
    const auto& nic = spec.nics(i);
    const bool drawn = request.vm().spec().nics(i).mac().empty();
    add("spec.nics." + nic.id(),
        (drawn && request.validate_only() ? "an address that is drawn when it is made"
                                          : nic.mac()) +
            " on " + (nic.bridge().empty() ? "the user network" : nic.bridge()));
  }
  add("spec.boot.kernel", spec.boot().kernel());
  add("spec.boot.initrd", spec.boot().initrd());
  add("spec.boot.command_line", spec.boot().command_line());
  if (spec.has_cloud_init()) add("spec.cloud_init", seed_text(request.vm().spec().cloud_init()));
  if (spec.guest_agent()) add("spec.guest_agent", "true");
  add("state", request.start() ? "RUNNING" : "STOPPED");
}

}  // namespace

Result<Plan> create_vm(Inventory& inventory, const FreshIds& ids,
                       const v1::CreateVmRequest& request) {
  v1::VirtualMachine vm;
  vm.set_uid(ids.object_uid);
  vm.set_display_name(request.vm().display_name());
  *vm.mutable_labels() = request.vm().labels();
  vm.set_description(request.vm().description());
  *vm.mutable_spec() = request.vm().spec();
  TRY(require_free_name(inventory, vm.display_name()));
  const auto placed = TRY(resolve(inventory, ids, vm));
  const auto guest = TRY(guest_spec(inventory, vm));

  const std::string host = placed.host->row.uid;
  Plan plan{.kind = "CreateVm",
            .target_kind = "vm",
            .target_uid = vm.uid(),
            .target_name = vm.display_name(),
            .host_uid = host,
            .locks = {vm_name(vm.uid())}};
  plan.record.set_vm_uid(vm.uid());
  plan.record.set_hypervisor_uid(placed.hypervisor->row.uid);
  *plan.record.mutable_vm_after() = vm;
  *plan.record.mutable_view()->mutable_placement() = placed.shown;
  plan.record.set_begin_effect("vm_created");
  plan.record.set_undone_effect("vm_forgotten");
  plan.record.set_abandon_effect("vm_doubtful");
  describe(plan, vm, request);

  auto& disks = add_step(plan, "create the disks", host);
  *disks.mutable_action()->mutable_prepare_guest()->mutable_spec() = guest;
  disks.mutable_undo()->mutable_remove_guest_files()->set_uid(vm.uid());
  disks.mutable_undo()->mutable_remove_guest_files()->set_hypervisor(vm.spec().hypervisor());

  auto& define = add_step(plan, "define the machine", host);
  *define.mutable_action()->mutable_define_guest()->mutable_spec() = guest;
  define.mutable_undo()->mutable_undefine_guest()->set_uid(vm.uid());
  define.mutable_undo()->mutable_undefine_guest()->set_hypervisor(vm.spec().hypervisor());
  define.set_effect("vm_stopped");
  if (!request.start()) return plan;

  auto& start = add_step(plan, "start the machine", host);
  start.mutable_action()->mutable_start_guest()->set_uid(vm.uid());
  start.mutable_action()->mutable_start_guest()->set_hypervisor(vm.spec().hypervisor());
  start.mutable_undo()->mutable_stop_guest()->set_uid(vm.uid());
  start.mutable_undo()->mutable_stop_guest()->set_hypervisor(vm.spec().hypervisor());
  start.set_effect("vm_running");
  start.set_undo_effect("vm_stopped");
  return plan;
}

}  // namespace reeve::server::recipes
