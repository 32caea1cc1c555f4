#include "server/events/render.h"

#include "db/repo/host_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/errors.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

template <class Row>
Row row_of(const db::Version& version) {
  Row row;
  row.uid = version.uid;
  row.name = version.name;
  row.etag = version.etag;
  row.revision = version.revision;
  row.create_time = version.create_time;
  row.update_time = version.time;
  row.state = version.state;
  row.spec = version.spec;
  row.status = version.status;
  if constexpr (requires { row.host_uid; }) row.host_uid = version.host_uid;
  return row;
}

Result<v1::VirtualMachine> render_vm(Inventory& inventory, const db::Version& version,
                                     PermissionSet permissions, Detail detail) {
  const auto now = db::VmReader(inventory.tx()).get(version.uid);
  v1::VirtualMachine vm;
  if (detail == Detail::Now && now.ok() && now.value().revision == version.revision) {
    TRY(inventory.show(now.value(), permissions, vm));
  } else {
    auto row = row_of<db::Vm>(version);
    if (now.ok()) row.origin = now.value().origin;
    TRY(fill(row, vm));
  }
  redact(vm);
  return vm;
}

Result<v1::Image> render_image(Inventory& inventory, const db::Version& version,
                               PermissionSet permissions, Detail detail) {
  const auto now = db::ImageReader(inventory.tx()).get(version.uid);
  if (detail == Detail::Now && now.ok() && now.value().revision == version.revision)
    return inventory.show(now.value(), permissions);
  auto row = row_of<db::Image>(version);
  if (now.ok()) {  // columns that never change after the import
    row.kind = now.value().kind;
    row.format = now.value().format;
    row.size_bytes = now.value().size_bytes;
    row.sha256 = now.value().sha256;
  }
  return to_proto(row);
}

Result<std::optional<v1::Event>> render_host(Inventory& inventory, const db::Version& version,
                                             v1::Event event, PermissionSet permissions,
                                             Detail detail) {
  const bool part = version.kind == db::ObjectKind::Hypervisor;
  const std::string uid = part ? version.host_uid : version.uid;
  event.set_resource(host_name(uid));
  const auto now = db::HostReader(inventory.tx()).get(uid);
  if (part && !now.ok()) return std::optional<v1::Event>{};
  if (part || (detail == Detail::Now && now.ok() && now.value().revision == version.revision)) {
    *event.mutable_host() = TRY(inventory.show(now.value(), permissions));
    return std::optional(std::move(event));
  }
  *event.mutable_host() = TRY(to_proto(row_of<db::Host>(version)));
  return std::optional(std::move(event));
}

v1::Event marker(v1::Event::Type type, std::int64_t revision, WallTime now) {
  v1::Event event;
  event.set_type(type);
  event.set_revision(revision);
  *event.mutable_time() = to_proto(now);
  return event;
}

}  // namespace

Result<std::optional<v1::Event>> render(Inventory& inventory, const db::Version& version,
                                        PermissionSet permissions, Detail detail) {
  v1::Event event = marker(v1::Event::TYPE_CHANGED, version.revision, version.time);
  event.set_actor(version.actor);
  if (!version.job_uid.empty()) event.set_job(job_name(version.job_uid));
  using db::ObjectKind;
  switch (version.kind) {
    case ObjectKind::Host: event.set_resource(host_name(version.uid)); break;
    case ObjectKind::Vm: event.set_resource(vm_name(version.uid)); break;
    case ObjectKind::Image: event.set_resource(image_name(version.uid)); break;
    case ObjectKind::Job: event.set_resource(job_name(version.uid)); break;
    case ObjectKind::Hypervisor: break;
  }
  if (version.deleted && version.kind != ObjectKind::Hypervisor) {
    event.set_type(v1::Event::TYPE_DELETED);
    return std::optional(std::move(event));
  }
  switch (version.kind) {
    case ObjectKind::Host:
    case ObjectKind::Hypervisor:
      return render_host(inventory, version, std::move(event), permissions, detail);
    case ObjectKind::Vm:
      *event.mutable_vm() = TRY(render_vm(inventory, version, permissions, detail));
      break;
    case ObjectKind::Image:
      *event.mutable_image() = TRY(render_image(inventory, version, permissions, detail));
      break;
    case ObjectKind::Job: {
      db::Job row;
      row.uid = version.uid;
      row.revision = version.revision;
      row.doc = version.status;
      *event.mutable_job_object() = TRY(to_proto(row));
      break;
    }
  }
  return std::optional(std::move(event));
}

Result<std::vector<db::ObjectKind>> kinds_of(
    const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::vector<db::ObjectKind> kinds;
  for (const auto& name : names) {
    if (name == "hosts") {
      kinds.push_back(db::ObjectKind::Host);
      kinds.push_back(db::ObjectKind::Hypervisor);
    } else if (name == "vms") {
      kinds.push_back(db::ObjectKind::Vm);
    } else if (name == "images") {
      kinds.push_back(db::ObjectKind::Image);
    } else if (name == "jobs") {
      kinds.push_back(db::ObjectKind::Job);
    } else {
      return bad_field("kinds", "must be of hosts, vms, images, jobs");
    }
  }
  return kinds;
}

v1::Event bookmark(std::int64_t revision, WallTime now) {
  return marker(v1::Event::TYPE_BOOKMARK, revision, now);
}
v1::Event gap(std::int64_t revision, WallTime now) {
  return marker(v1::Event::TYPE_GAP, revision, now);
}

}  // namespace reeve::server
