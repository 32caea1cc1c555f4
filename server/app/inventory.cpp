#include "server/app/inventory.h"

#include <algorithm>

#include "base/text.h"
#include "db/repo/host_repo.h"
#include "db/repo/hypervisor_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/job_repo.h"
#include "db/repo/lock_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

constexpr int kBatch = 500;

v1::AllowedAction action(std::string_view verb, PermissionSet permissions, v1::Permission needed,
                         const std::optional<Error>& error) {
  v1::AllowedAction result;
  result.set_verb(std::string(verb));
  if (!permissions.has(needed)) {
    result.set_reason("NOT_PERMITTED");
    result.set_description("your role does not allow this");
    return result;
  }
  result.set_allowed(!error);
  if (error) {
    result.set_reason(std::string(error->reason()));
    result.set_description(error->message());
  }
  return result;
}

}  // namespace

const KnownHypervisor* KnownHost::hypervisor(std::string_view id) const {
  const auto it = std::ranges::find(hypervisors, id, [](const auto& h) { return h.row.name; });
  return it == hypervisors.end() ? nullptr : &*it;
}

const KnownHypervisor* KnownHost::hypervisor_by_uid(std::string_view uid) const {
  const auto it = std::ranges::find(hypervisors, uid, [](const auto& h) { return h.row.uid; });
  return it == hypervisors.end() ? nullptr : &*it;
}

Status KnownHost::require_feature(std::string_view feature) const {
  if (feature.empty() || std::ranges::find(features, feature) != features.end()) return {};
  return too_old_error(row.name, status.agent_version(), feature).resource(host_name(row.uid));
}

Result<std::shared_ptr<const KnownHost>> Inventory::load(db::Host row) {
  auto known = std::make_shared<KnownHost>();
  known->status = TRY(document<v1::HostStatus>(row.status, "host " + row.uid));
  known->connected = host_state_of(row.state) == v1::Host::STATE_CONNECTED;
  for (const auto feature : split(row.link_features, ' ')) known->features.emplace_back(feature);
  const db::Filter filter(db::Column::HostUid, row.uid);
  auto rows = TRY(db::HypervisorReader(tx_).list(filter, {.limit = kBatch}));
  for (auto& hypervisor : rows) {
    auto shown = TRY(to_proto(hypervisor));
    known->hypervisors.push_back({std::move(hypervisor), std::move(shown)});
  }
  known->row = std::move(row);
  std::shared_ptr<const KnownHost> result = std::move(known);
  hosts_[result->row.uid] = result;
  return result;
}

Result<std::shared_ptr<const KnownHost>> Inventory::host(const std::string& uid) {
  if (const auto it = hosts_.find(uid); it != hosts_.end()) return it->second;
  return load(TRY(db::HostReader(tx_).get(uid)));
}

Result<std::vector<std::shared_ptr<const KnownHost>>> Inventory::hosts() {
  std::vector<std::shared_ptr<const KnownHost>> all;
  db::HostReader reader(tx_);
  db::Page page{.limit = kBatch};
  while (true) {
    auto rows = TRY(reader.list({}, db::ObjectOrder::Name, page));
    const bool more = rows.size() == static_cast<std::size_t>(kBatch);
    if (more) page.after = db::key_of(rows.back(), db::ObjectOrder::Name);
    for (auto& row : rows) all.push_back(TRY(load(std::move(row))));
    if (!more) return all;
  }
}

Result<std::vector<db::Vm>> Inventory::vms_on(const std::string& host_uid) {
  std::vector<db::Vm> all;
  db::VmReader reader(tx_);
  db::Page page{.limit = kBatch};
  while (true) {
    auto rows = TRY(reader.list({db::Column::HostUid, host_uid}, db::ObjectOrder::Name, page));
    const bool more = rows.size() == static_cast<std::size_t>(kBatch);
    if (more) page.after = db::key_of(rows.back(), db::ObjectOrder::Name);
    std::ranges::move(rows, std::back_inserter(all));
    if (!more) return all;
  }
}

Result<HoldingJob> Inventory::holder_of(const std::string& resource) {
  const auto lock = TRY(db::LockReader(tx_).find(resource));
  if (!lock) return HoldingJob{};
  auto job = db::JobReader(tx_).get(lock->job_uid);
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now_ - lock->acquire_time);
  return HoldingJob{.uid = lock->job_uid,
                    .kind = job.ok() ? job.value().kind : "unknown",
                    .seconds = std::max<std::int64_t>(0, age.count())};
}

Status Inventory::require_free(const std::string& resource) {
  return require_free(resource, TRY(holder_of(resource)));
}

Status Inventory::require_free(const std::string& resource, const HoldingJob& holder) {
  if (holder.uid.empty()) return {};
  return busy_error(resource, subject_of(resource), holder);
}

std::string Inventory::subject_of(const std::string& resource) {
  const auto slash = resource.find('/');
  const std::string kind = resource.substr(0, slash);
  const std::string rest = slash == resource.npos ? "" : resource.substr(slash + 1);
  if (kind == "vms") {
    const auto row = db::VmReader(tx_).get(rest);
    if (row.ok()) return "machine '" + row.value().name + "'";
  } else if (kind == "images") {
    const auto row = db::ImageReader(tx_).get(rest);
    if (row.ok()) return "image '" + row.value().name + "'";
  } else if (kind == "vm-names") {
    return "the name '" + rest + "'";
  }
  return resource;
}

Result<VmFacts> Inventory::facts(const db::Vm& row) {
  return facts_of(row, TRY(holder_of(vm_name(row.uid))));
}

Result<VmFacts> Inventory::facts_of(const db::Vm& row, HoldingJob holder) {
  VmFacts facts{.uid = row.uid,
                .display_name = row.name,
                .state = vm_state_of(row.state),
                .origin = vm_origin_of(row.origin)};
  facts.active_job = std::move(holder.uid);
  facts.active_job_kind = std::move(holder.kind);
  facts.active_job_seconds = holder.seconds;
  if (row.host_uid.empty()) return facts;
  const auto known = TRY(host(row.host_uid));
  facts.host_display_name = known->row.name;
  facts.host_connected = known->connected;
  facts.agent_version = known->status.agent_version();
  facts.agent_features = known->features;
  if (const auto* hypervisor = known->hypervisor_by_uid(row.hypervisor_uid)) {
    facts.hypervisor_available = hypervisor->shown.available();
    facts.capabilities.assign(hypervisor->shown.capabilities().begin(),
                              hypervisor->shown.capabilities().end());
    std::ranges::sort(facts.capabilities);
  }
  return facts;
}

Status Inventory::show(const db::Vm& row, PermissionSet permissions, v1::VirtualMachine& vm) {
  TRY(fill(row, vm));
  auto holder = TRY(holder_of(vm.name()));
  if (holder.uid.empty()) {
    const auto [shared, is_new] = actions_.try_emplace(
        Circumstances{row.state, row.origin, row.host_uid, row.hypervisor_uid, permissions.bits()});
    if (is_new) shared->second = allowed_actions(TRY(facts_of(row, {})), permissions);
    vm.mutable_allowed_actions()->CopyFrom(shared->second);
  } else {
    vm.set_active_job(job_name(holder.uid));
    const auto known = TRY(facts_of(row, std::move(holder)));
    vm.mutable_allowed_actions()->CopyFrom(allowed_actions(known, permissions));
  }
  if (!permissions.has(v1::PERMISSION_EDIT_VMS)) redact(vm);
  return {};
}

Result<std::optional<Error>> Inventory::deletion_refusal(const db::Image& row) {
  return deletion_refusal(row, TRY(holder_of(image_name(row.uid))));
}

Result<std::optional<Error>> Inventory::deletion_refusal(const db::Image& row,
                                                         const HoldingJob& holder) {
  const std::string name = image_name(row.uid);
  if (const Status free = require_free(name, holder); !free.ok())
    return std::optional(free.error());
  if (!row.host_uid.empty()) {
    const auto known = TRY(host(row.host_uid));
    if (!known->connected)
      return std::optional(
          Error(Code::Unavailable, "HOST_UNREACHABLE",
                "host '" + known->row.name + "', which has image '" + row.name +
                    "', is not connected")
              .resource(name)
              .remedy(
                  "start reeve-agent on the host, or check the network between it and the server"));
  }
  constexpr std::size_t kNamed = 10;
  auto users = TRY(db::VmReader(tx_).users_of_image(row.uid, kNamed + 1));
  if (users.empty()) return std::optional<Error>{};
  std::ranges::sort(users);
  const bool more = users.size() > kNamed;
  if (more) users.resize(kNamed);
  return std::optional(
      Error(Code::FailedPrecondition, "IMAGE_IN_USE",
            "image '" + row.name + "' is used by " + join(users, ", ") + (more ? ", ..." : ""))
          .resource(name)
          .remedy("delete these machines first: their disks are overlays on the image"));
}

Result<v1::Image> Inventory::show(const db::Image& row, PermissionSet permissions) {
  auto image = TRY(to_proto(row));
  const auto holder = TRY(holder_of(image_name(row.uid)));
  const auto refusal = TRY(deletion_refusal(row, holder));
  if (!holder.uid.empty()) image.set_active_job(job_name(holder.uid));
  *image.add_allowed_actions() =
      action("UpdateImage", permissions, v1::PERMISSION_EDIT_IMAGES, std::nullopt);
  *image.add_allowed_actions() =
      action("DeleteImage", permissions, v1::PERMISSION_EDIT_IMAGES, refusal);
  return image;
}

Result<std::optional<Error>> Inventory::deletion_refusal(const db::Host& row) {
  const auto some = TRY(
      db::VmReader(tx_).list({db::Column::HostUid, row.uid}, db::ObjectOrder::Name, {.limit = 1}));
  if (!some.empty()) {
    const auto count = std::to_string(TRY(db::VmReader(tx_).count_on(row.uid)));
    return std::optional(
        Error(Code::FailedPrecondition, "HOST_NOT_EMPTY",
              "host '" + row.name + "' has " + count + " machines, such as '" + some.front().name +
                  "'")
            .resource(host_name(row.uid))
            .with("machines", count)
            .remedy("delete its machines first, or repeat the call with force: they then run on, "
                    "no longer managed"));
  }
  const auto images = TRY(db::ImageReader(tx_).list({db::Column::HostUid, row.uid},
                                                    db::ObjectOrder::Name, {.limit = 1}));
  if (!images.empty())
    return std::optional(
        Error(Code::FailedPrecondition, "HOST_NOT_EMPTY",
              "host '" + row.name + "' has images, such as '" + images.front().name + "'")
            .resource(host_name(row.uid))
            .remedy("delete its images first, or repeat the call with force: their files then stay "
                    "on the host, unknown to the inventory"));
  return std::optional<Error>{};
}

Result<v1::Host> Inventory::show(const db::Host& row, PermissionSet permissions) {
  auto shown = TRY(to_proto(row));
  const auto known = TRY(host(row.uid));
  for (const auto& hypervisor : known->hypervisors) *shown.add_hypervisors() = hypervisor.shown;
  const auto refusal = TRY(deletion_refusal(row));
  *shown.add_allowed_actions() =
      action("UpdateHost", permissions, v1::PERMISSION_EDIT_HOSTS, std::nullopt);
  *shown.add_allowed_actions() =
      action("DeleteHost", permissions, v1::PERMISSION_EDIT_HOSTS, refusal);
  return shown;
}

}  // namespace reeve::server
