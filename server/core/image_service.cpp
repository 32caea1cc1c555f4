#include "server/app/image_service.h"

#include <array>

#include "db/repo/image_repo.h"
#include "db/repo/job_repo.h"
#include "server/app/validate.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/filter_names.h"
#include "server/core/list_page.h"

namespace reeve::server {

namespace {

Status check_update(const v1::UpdateImageRequest& request) {
  TRY(check_mask(request.update_mask(), {"display_name", "labels", "description"}));
  FieldCheck check;
  const auto& image = request.image();
  check.require(uid_of(image.name(), "images", "image.name").ok(), "image.name",
                "must be images/{uid}");
  if (has_path(request.update_mask(), "display_name"))
    check_display_name(check, "image.display_name", image.display_name());
  if (has_path(request.update_mask(), "labels"))
    check_labels(check, "image.labels", image.labels());
  if (has_path(request.update_mask(), "description"))
    check_description(check, "image.description", image.description());
  return check.outcome();
}

/// The row with what the mask names changed; nothing is written.
Result<db::Image> updated(db::ReadTransaction& tx, const v1::UpdateImageRequest& request) {
  const auto& image = request.image();
  db::ImageReader repo(tx);
  auto row = TRY(repo.get(image.name().substr(image.name().find('/') + 1)));
  if (!image.etag().empty() && image.etag() != row.etag)
    return Error(Code::Aborted, "STALE_ETAG", "image '" + row.name + "' has changed since")
        .resource(image.name())
        .remedy("read it again and repeat the call with its new etag");
  auto spec = TRY(document<v1::Image>(row.spec, "image " + row.uid));
  const auto& mask = request.update_mask();
  if (has_path(mask, "labels")) *spec.mutable_labels() = image.labels();
  if (has_path(mask, "description")) spec.set_description(image.description());
  if (has_path(mask, "display_name")) {
    const auto other = repo.get_by_name(image.display_name());
    if (other.ok() && other.value().uid != row.uid)
      return Error(Code::AlreadyExists, "NAME_TAKEN",
                   "an image is called '" + image.display_name() + "' already")
          .resource(image_name(other.value().uid));
    row.name = image.display_name();
  }
  row.spec = image_spec_document(spec);
  return row;
}

constexpr auto kFilterKeys = std::to_array<FilterKey>({
    kUidKey,
    {"kind", db::Column::Kind, FilterKey::Type::Word, "disk kernel initrd iso"},
    {"state", db::Column::State, FilterKey::Type::Word, "importing ready incomplete"},
    kHostKey,
    kDisplayNameKey,
    kCreateTimeKey,
    kUpdateTimeKey,
});

class Images final : public ImageService {
 public:
  explicit Images(const ServiceParts& parts) : parts_(parts) {}

  Result<v1::Image> get(const Caller& caller, const v1::GetImageRequest& request) override {
    const auto uid = TRY(uid_of(request.name(), "images", "name"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::Image> {
      Inventory inventory(tx, parts_.now());
      const auto row = TRY(db::ImageReader(tx).get(uid));
      return inventory.show(row, caller.permissions);
    });
  }

  Result<v1::ListImagesResponse> list(const Caller& caller,
                                      const v1::ListImagesRequest& request) override {
    const auto query = TRY(query_of(parts_, request, {.keys = kFilterKeys}));
    v1::ListImagesResponse response;
    const auto add = [&](Inventory& inventory, const db::Image& row) -> Result<bool> {
      auto image = TRY(inventory.show(row, caller.permissions));
      const bool wanted =
          TRY(query.filter.labels_match(inventory.tx(), db::ObjectKind::Image, image));
      if (!wanted) return false;
      *response.add_images() = std::move(image);
      return true;
    };
    TRY(list_page<db::ImageReader>(parts_, query, response, add));
    return response;
  }

  void import(const Caller& caller, const v1::ImportImageRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }
  void remove(const Caller& caller, const v1::DeleteImageRequest& request,
              Reply<v1::Job> reply) override {
    parts_.runner->submit(caller, request, std::move(reply));
  }

  void update(const Caller& caller, const v1::UpdateImageRequest& request,
              Reply<v1::Image> reply) override {
    if (Status fields = check_update(request); !fields.ok())
      return reply(std::move(fields).error());
    const auto now = parts_.now();
    if (request.validate_only())
      return reply(parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<v1::Image> {
        const auto row = TRY(updated(tx, request));
        return Inventory(tx, now).show(row, caller.permissions);
      }));
    write_and_reply<v1::Image>(
        parts_, caller, {.method = "ImageService/UpdateImage", .resource = request.image().name()},
        [request, caller, now](db::Transaction& tx) -> Result<v1::Image> {
          auto row = TRY(updated(tx, request));
          row = TRY(db::ImageRepo(tx).update(std::move(row), {.actor = caller.actor, .time = now}));
          return Inventory(tx, now).show(row, caller.permissions);
        },
        std::move(reply));
  }

  Result<ExpectedUpload> expected_upload(const std::string& name) override {
    const auto uid = TRY(uid_of(name, "jobs", "job"));
    return parts_.core.readers->read([&](db::ReadTransaction& tx) -> Result<ExpectedUpload> {
      const auto job = TRY(load_job(tx, uid));
      const auto refuse = [&](const std::string& why) {
        return Error(Code::FailedPrecondition, "NO_UPLOAD_EXPECTED", name + " " + why)
            .resource(name);
      };
      if (job.step_count() == 0 || !job.planned(0).action().import_image().has_upload())
        return refuse("does not import from an upload");
      if (job.state() != v1::Job::STATE_RUNNING) return refuse("is " + job.row.state);
      const auto& upload = job.planned(0).action().import_image().upload();
      return ExpectedUpload{.job_uid = uid,
                            .host_uid = job.planned(0).host(),
                            .ticket = upload.ticket(),
                            .size_bytes = upload.size_bytes()};
    });
  }

 private:
  const ServiceParts parts_;
};

}  // namespace

std::unique_ptr<ImageService> make_image_service(const ServiceParts& parts) {
  return std::make_unique<Images>(parts);
}

}  // namespace reeve::server
