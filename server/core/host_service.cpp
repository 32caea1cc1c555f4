#include "server/app/host_service.h"

#include <algorithm>
#include <array>

#include "db/repo/host_repo.h"
#include "db/repo/hypervisor_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/errors.h"
#include "server/app/validate.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

constexpr int kAllOfAHost = 100'000;

std::string uid_part(const std::string& name) {
  return name.substr(name.find('/') + 1);
}

Error stale(const std::string& name) {
  return Error(Code::Aborted, "STALE_ETAG", name + " has changed since")
      .resource(name)
      .remedy("read it again and repeat the call with its new etag");
}

Status check_update(const v1::UpdateHostRequest& request) {
  TRY(check_mask(request.update_mask(), {"display_name", "labels"}));
  FieldCheck check;
  check.require(uid_of(request.host().name(), "hosts", "host.name").ok(), "host.name",
                "must be hosts/{uid}");
  if (has_path(request.update_mask(), "display_name"))
    check_display_name(check, "host.display_name", request.host().display_name());
  if (has_path(request.update_mask(), "labels"))
    check_labels(check, "host.labels", request.host().labels());
  return check.outcome();
}

/// What is recorded about a host and goes with it. Aborted/RESOURCE_BUSY while a job works there.
Result<v1::DeleteHostResponse> contents(db::ReadTransaction& tx, Inventory& inventory,
                                        const std::string& host_uid) {
  v1::DeleteHostResponse found;
  for (const auto& row : TRY(inventory.vms_on(host_uid))) {
    TRY(inventory.require_free(vm_name(row.uid)));
    found.add_vms(vm_name(row.uid));
  }
  for (const auto& row : TRY(db::ImageReader(tx).list(
           {db::Column::HostUid, host_uid}, db::ObjectOrder::Name, {.limit = kAllOfAHost}))) {
    TRY(inventory.require_free(image_name(row.uid)));
    found.add_images(image_name(row.uid));
  }
  return found;
}

Status remove_contents(db::Transaction& tx, const v1::DeleteHostResponse& contents,
                       const std::string& host_uid, const db::Change& change) {
  db::VmRepo vms(tx);
  for (const auto& name : contents.vms()) TRY(vms.remove(uid_part(name), "", change));
  db::ImageRepo images(tx);
  for (const auto& name : contents.images()) TRY(images.remove(uid_part(name), "", change));
  db::HypervisorRepo hypervisors(tx);
  for (const auto& row :
       TRY(hypervisors.list({db::Column::HostUid, host_uid}, {.limit = kAllOfAHost})))
    TRY(hypervisors.remove(row.uid, "", change));
  return {};
}

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    kUidKey,
    {"state", db::Column::State, FilterKey::Type::Word, "enrolled connected disconnected"},
    kDisplayNameKey,
    kCreateTimeKey,
    kUpdateTimeKey,
});

/// The row with what the mask names changed; nothing is written.
Result<db::Host> updated(db::ReadTransaction& tx, const v1::UpdateHostRequest& request) {
  db::HostReader repo(tx);
  auto row = TRY(repo.get(uid_part(request.host().name())));
  if (!request.host().etag().empty() && request.host().etag() != row.etag)
    return stale(request.host().name());
  auto spec = TRY(document<v1::Host>(row.spec, "host " + row.uid));
  if (has_path(request.update_mask(), "labels")) *spec.mutable_labels() = request.host().labels();
  if (has_path(request.update_mask(), "display_name")) {
    const auto& name = request.host().display_name();
    const auto other = repo.get_by_name(name);
    if (other.ok() && other.value().uid != row.uid)
      return Error(Code::AlreadyExists, "NAME_TAKEN", "a host is called '" + name + "' already")
          .resource(host_name(other.value().uid));
    row.name = name;
  }
  row.spec = spec.SerializeAsString();
  return row;
}

/// What goes with the host when it is removed; nothing is written.
Result<v1::DeleteHostResponse> removal(db::ReadTransaction& tx,
                                       const v1::DeleteHostRequest& request, WallTime now) {
  const auto row = TRY(db::HostReader(tx).get(uid_part(request.name())));
  if (!request.etag().empty() && request.etag() != row.etag) return stale(request.name());
  Inventory inventory(tx, now);
  if (!request.force())
    if (auto refusal = TRY(inventory.deletion_refusal(row))) return std::move(*refusal);
  return contents(tx, inventory, row.uid);
}

class Hosts final : public HostService {
 public:
  explicit Hosts(const ServiceParts& parts) : parts_(parts) {}

  Result<v1::Host> get(const Caller& caller, const v1::GetHostRequest& request) override {
    const auto uid = TRY(uid_of(request.name(), "hosts", "name"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::Host> {
      Inventory inventory(tx, parts_.now());
      const auto row = TRY(db::HostReader(tx).get(uid));
      auto host = TRY(inventory.show(row, caller.permissions));
      parts_.live->fill(host);
      return host;
    });
  }

  Result<v1::ListHostsResponse> list(const Caller& caller,
                                     const v1::ListHostsRequest& request) override {
    const auto query = TRY(query_of(parts_, request, {.keys = kFilterKeys}));
    v1::ListHostsResponse response;
    const auto add = [&](Inventory& inventory, const db::Host& row) -> Result<bool> {
      auto host = TRY(inventory.show(row, caller.permissions));
      const bool wanted =
          TRY(query.filter.labels_match(inventory.tx(), db::ObjectKind::Host, host));
      if (!wanted) return false;
      parts_.live->fill(host);
      *response.add_hosts() = std::move(host);
      return true;
    };
    TRY(list_page<db::HostReader>(parts_, query, response, add));
    return response;
  }

  void update(const Caller& caller, const v1::UpdateHostRequest& request,
              Reply<v1::Host> reply) override {
    if (Status fields = check_update(request); !fields.ok())
      return reply(std::move(fields).error());
    const auto now = parts_.now();
    if (request.validate_only())
      return reply(parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::Host> {
        const auto row = TRY(updated(tx, request));
        return Inventory(tx, now).show(row, caller.permissions);
      }));
    write_and_reply<v1::Host>(
        parts_, caller, {.method = "HostService/UpdateHost", .resource = request.host().name()},
        [request, caller, now](db::Transaction& tx) -> Result<v1::Host> {
          auto row = TRY(updated(tx, request));
          row = TRY(db::HostRepo(tx).update(std::move(row), {.actor = caller.actor, .time = now}));
          return Inventory(tx, now).show(row, caller.permissions);
        },
        std::move(reply));
  }

  void remove(const Caller& caller, const v1::DeleteHostRequest& request,
              Reply<v1::DeleteHostResponse> reply) override {
    auto uid = uid_of(request.name(), "hosts", "name");
    if (!uid.ok()) return reply(std::move(uid).error());
    const std::string host_uid = uid.value();
    const auto now = parts_.now();
    if (request.validate_only())
      return reply(parts_.core.readers->read(
          [&](db::ReadTransaction& tx) { return removal(tx, request, now); }));
    write_and_reply<v1::DeleteHostResponse>(
        parts_, caller,
        {.method = "HostService/DeleteHost",
         .resource = request.name(),
         .summary = request.force() ? "force" : ""},
        [request, caller, host_uid, now](db::Transaction& tx) -> Result<v1::DeleteHostResponse> {
          auto removed = TRY(removal(tx, request, now));
          const db::Change change{.actor = caller.actor, .time = now};
          TRY(remove_contents(tx, removed, host_uid, change));
          TRY(db::HostRepo(tx).remove(host_uid, "", change));
          return removed;
        },
        [pool = parts_.pool, host_uid,
         reply = std::move(reply)](Result<v1::DeleteHostResponse> result) {
          if (result.ok()) pool->disconnect(host_uid, "HOST_REVOKED", "this host was removed");
          reply(std::move(result));
        });
  }

 private:
  const ServiceParts parts_;
};

}  // namespace

db::Host enrolled_host(std::string uid, std::string_view display_name,
                       std::string cert_key_sha256) {
  db::Host row;
  row.uid = std::move(uid);
  for (const char c : display_name.substr(0, 63)) {
    const std::string so_far = row.name + c;
    row.name = is_display_name(so_far) ? so_far : row.name + (row.name.empty() ? "" : "-");
  }
  if (row.name.empty()) row.name = "host-" + row.uid.substr(0, 8);
  row.state = to_word(v1::Host::STATE_ENROLLED);
  row.cert_key_sha256 = std::move(cert_key_sha256);
  row.spec = v1::Host{}.SerializeAsString();
  row.status = v1::HostStatus{}.SerializeAsString();
  return row;
}

std::unique_ptr<HostService> make_host_service(const ServiceParts& parts) {
  return std::make_unique<Hosts>(parts);
}

}  // namespace reeve::server
