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
  if (auto refusal = TRY(inventory.deletion_refusal(row))) return std::move(*refusal);
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
