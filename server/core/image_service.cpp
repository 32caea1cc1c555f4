#include "server/app/image_service.h"

#include "db/repo/feed_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/job_repo.h"
#include "server/app/validate.h"
#include "server/app/views.h"
#include "server/app/words.h"
#include "server/core/core_parts.h"
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

Result<v1::Image> apply_update(db::Transaction& tx, const v1::UpdateImageRequest& request,
                               const Caller& caller, WallTime now) {
  const auto& image = request.image();
  db::ImageRepo repo(tx);
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
  if (!request.validate_only())
    row = TRY(repo.update(std::move(row), {.actor = caller.actor, .time = now}));
  return Inventory(tx, now).show(row, caller.permissions);
}

struct ImageQuery {
  db::ImageFilter filter{};
  std::vector<FilterTerm> labels{};
};

Result<ImageQuery> query_of(const std::string& filter) {
  ImageQuery query;
  for (auto& term : TRY(parse_filter(filter))) {
    if (term.key == "kind") {
      query.filter.kind = TRY(filter_word(term.value, {"disk", "kernel", "initrd", "iso"}));
    } else if (term.key == "state") {
      query.filter.state = TRY(filter_word(term.value, {"importing", "ready", "incomplete"}));
    } else if (term.key == "host") {
      query.filter.host_uid = TRY(uid_of(term.value, "hosts", "filter"));
    } else if (term.key == "display_name") {
      query.filter.name_glob = term.value;
    } else if (term.key.starts_with("label.")) {
      query.labels.push_back({term.key.substr(6), term.value});
    } else {
      return bad_filter("has an unknown key '" + term.key.substr(0, 64) +
                        "'; known are kind, state, host, display_name, label.KEY");
    }
  }
  return query;
}

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
    const auto query = TRY(query_of(request.filter()));
    const auto order = TRY(parse_order(request.order_by(), {"display_name", "create_time"}));
    const auto page = TRY(PageRequest::of(request, order.descending));
    const auto by = order.key == "create_time" ? db::ImageOrder::CreateTime : db::ImageOrder::Name;
    return parts_.core.readers->read(
        [&](db::ReadTransaction& tx) -> Result<v1::ListImagesResponse> {
          v1::ListImagesResponse response;
          Inventory inventory(tx, parts_.now());
          db::ImageReader reader(tx);
          response.set_revision(TRY(db::FeedReader(tx).revision()));
          auto token = collect_page(
              page, [&](const db::Page& part) { return reader.list(query.filter, by, part); },
              [&](const db::Image& row) { return db::ImageReader::key_of(row, by); },
              [&](const db::Image& row) -> Result<bool> {
                auto image = TRY(inventory.show(row, caller.permissions));
                for (const auto& label : query.labels) {
                  const auto it = image.labels().find(label.key);
                  if (it == image.labels().end() || it->second != label.value) return false;
                }
                *response.add_images() = std::move(image);
                return true;
              });
          if (!token.ok()) return std::move(token).error();
          response.set_next_page_token(std::move(token).value());
          return response;
        });
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
    write_and_reply<v1::Image>(
        parts_, caller, {.method = "ImageService/UpdateImage", .resource = request.image().name()},
        [request, caller, now = parts_.now()](db::Transaction& tx) {
          return apply_update(tx, request, caller, now);
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
