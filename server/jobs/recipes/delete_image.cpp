#include "base/text.h"
#include "db/repo/image_repo.h"
#include "server/app/words.h"
#include "server/jobs/recipes/recipes.h"

namespace reeve::server::recipes {

Result<Plan> delete_image(Inventory& inventory, const FreshIds&,
                          const v1::DeleteImageRequest& request) {
  const auto uid = TRY(uid_of(request.name(), "images", "name"));
  const auto row = TRY(db::ImageReader(inventory.tx()).get(uid));
  if (!request.etag().empty() && request.etag() != row.etag)
    return Error(Code::Aborted, "STALE_ETAG", "image '" + row.name + "' has changed since")
        .resource(request.name())
        .remedy("read it again and repeat the call with its new etag");
  TRY(inventory.require_free(image_name(row.uid)));
  const auto host = TRY(inventory.host(row.host_uid));
  if (auto error = image_refusal(row, host.get())) return std::move(*error);
  constexpr std::size_t kNamed = 10;
  const auto users = TRY(inventory.users_of(row, kNamed + 1));
  if (!users.empty()) {
    const bool more = users.size() > kNamed;
    auto named = users;
    if (more) named.resize(kNamed);
    return Error(Code::FailedPrecondition, "IMAGE_IN_USE",
                 "image '" + row.name + "' is used by " + join(named, ", ") + (more ? ", ..." : ""))
        .resource(request.name())
        .remedy("delete these machines first: their disks are overlays on the image");
  }
  Plan plan{.kind = "DeleteImage",
            .target_kind = "image",
            .target_uid = row.uid,
            .target_name = row.name,
            .host_uid = row.host_uid,
            .locks = {image_name(row.uid)}};
  plan.record.set_image_uid(row.uid);
  plan.record.set_begin_effect("image_touched");
  plan.record.set_undone_effect("image_touched");
  plan.record.set_abandon_effect("image_incomplete");
  add_diff(plan, "display_name", row.name, "");
  auto& step = add_step(plan, "remove the file", row.host_uid);
  step.mutable_action()->mutable_remove_image()->set_uid(row.uid);
  step.set_effect("image_forgotten");
  step.set_no_return(true);
  return plan;
}

}  // namespace reeve::server::recipes
