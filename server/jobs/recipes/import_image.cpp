#include "db/repo/image_repo.h"
#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"

namespace reeve::server::recipes {

namespace {

Status require_free_name(Inventory& inventory, const std::string& name) {
  const auto other = db::ImageReader(inventory.tx()).get_by_name(name);
  if (other.ok())
    return Error(Code::AlreadyExists, "NAME_TAKEN", "an image is called '" + name + "' already")
        .resource(image_name(other.value().uid))
        .remedy("choose another display_name");
  if (other.error().code() != Code::NotFound) return other.error();
  return {};
}

Result<std::shared_ptr<const KnownHost>> choose_host(Inventory& inventory,
                                                     const std::string& name) {
  if (!name.empty()) {
    const auto uid = TRY(uid_of(name, "hosts", "host"));
    auto host = TRY(inventory.host(uid));
    if (host->connected) return host;
    return Error(Code::Unavailable, "HOST_UNREACHABLE",
                 "host '" + host->row.name + "' is not connected")
        .resource(name)
        .remedy("start reeve-agent on the host, or check the network between it and the server");
  }
  std::shared_ptr<const KnownHost> only;
  for (auto& host : TRY(inventory.hosts())) {
    if (!host->connected) continue;
    if (only)
      return Error(Code::InvalidArgument, "BAD_FIELD",
                   "host is required: several hosts are connected")
          .with("field:host", "is required: several hosts are connected");
    only = std::move(host);
  }
  if (only) return only;
  return Error(Code::Unavailable, "HOST_UNREACHABLE", "no host is connected")
      .remedy("enrol a host, or start reeve-agent on one");
}

}  // namespace

Result<Plan> import_image(Inventory& inventory, const FreshIds& ids,
                          const v1::ImportImageRequest& request) {
  v1::Image image = request.image();
  image.set_uid(ids.object_uid);
  TRY(require_free_name(inventory, image.display_name()));
  const auto host = TRY(choose_host(inventory, request.host()));
  if (image.format() == v1::DISK_FORMAT_UNSPECIFIED) image.set_format(v1::DISK_FORMAT_RAW);

  Plan plan{.kind = "ImportImage",
            .target_kind = "image",
            .target_uid = image.uid(),
            .target_name = image.display_name(),
            .host_uid = host->row.uid,
            .locks = {image_name(image.uid())}};
  plan.record.set_image_uid(image.uid());
  *plan.record.mutable_image_after() = image;
  plan.record.set_begin_effect("image_created");
  plan.record.set_undone_effect("image_forgotten");
  plan.record.set_abandon_effect("image_incomplete");
  add_diff(plan, "display_name", "", image.display_name());
  add_diff(plan, "copies", "", host_name(host->row.uid));

  auto& step = add_step(
      plan, request.has_host_path() ? "copy the file into the store" : "receive the upload",
      host->row.uid);
  auto& import = *step.mutable_action()->mutable_import_image();
  import.set_uid(image.uid());
  import.set_kind(image.kind());
  import.set_format(image.format());
  import.set_sha256(image.sha256());
  if (request.has_host_path()) {
    import.set_host_path(request.host_path());
  } else {
    import.mutable_upload()->set_ticket(ids.ticket);
    import.mutable_upload()->set_size_bytes(request.upload_bytes());
  }
  step.mutable_undo()->mutable_remove_image()->set_uid(image.uid());
  step.set_effect("image_ready");
  return plan;
}

}  // namespace reeve::server::recipes
