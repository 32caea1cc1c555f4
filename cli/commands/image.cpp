// cli/commands/image.cpp - reeve image: list, show, import with upload, update, delete.
#include <optional>

#include "cli/commands/commands.h"
#include "cli/commands/parse.h"
#include "cli/follow.h"
#include "cli/names.h"
#include "cli/output/resources.h"
#include "cli/select.h"
#include "cli/upload.h"
#include "cli/watch.h"

namespace reeve::cli {
namespace {

struct ImageArguments {
  std::string name{};
  std::string filter{};
  std::string order_by{};
  std::string source{};
  std::string host_path{};
  std::string kind{};
  std::string format{};
  std::string sha256{};
  std::string host{};
  std::string new_name{};
  std::string description{};
  std::vector<std::string> labels{};
  bool watch = false;
  bool yes = false;
};

Status list(Session& session, const ImageArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  const auto listed = TRY(all_images(client, arguments.filter, arguments.order_by));
  if (!arguments.watch) return print(render_list(listed.items, image_columns(), format)), Status();
  auto options = TRY(watch_from(client, "images", listed, arguments.filter));
  print(render_before_watch(listed, image_columns(), format));
  return watch(session, std::move(options));
}

std::string describe(const v1::Image& image, Names& names) {
  std::string out =
      render_table(make_table(std::vector{image}, image_columns(), Columns::Usual)) + "\n";
  out += page_line("uid:", image.uid()) + page_line("description:", image.description());
  out += page_line("labels:", join_map(image.labels())) + page_line("SHA256:", image.sha256());
  for (const auto& copy : image.copies()) out += page_line("copy on:", names.of(copy.host()));
  out += page_line("active job:", image.active_job());
  out += page_line("created:", time_text(image.create_time()));
  out += page_line("changed:", time_text(image.update_time()));
  return out + actions_text(image.allowed_actions());
}

Status show(Session& session, const ImageArguments& arguments) {
  const Format format = TRY(session.format());
  const auto client = TRY(session.client());
  const auto image = TRY(select_image(*client, arguments.name));
  Names names(*client, Names::Expect::One);
  print(format == Format::Table ? describe(image, names)
                                : render_one(image, image_columns(), format));
  return {};
}

Result<v1::Image::Kind> kind_of(const std::string& text) {
  if (text == "disk") return v1::Image::KIND_DISK;
  if (text == "kernel") return v1::Image::KIND_KERNEL;
  if (text == "initrd") return v1::Image::KIND_INITRD;
  if (text == "iso") return v1::Image::KIND_ISO;
  return Error{Code::InvalidArgument, "USAGE",
               "no image kind '" + text + "'; there are disk, kernel, initrd and iso"};
}

Result<v1::DiskFormat> format_of(const std::string& text) {
  if (text.empty()) return v1::DISK_FORMAT_UNSPECIFIED;
  if (text == "raw") return v1::DISK_FORMAT_RAW;
  if (text == "qcow2") return v1::DISK_FORMAT_QCOW2;
  return Error{Code::InvalidArgument, "USAGE",
               "no disk format '" + text + "'; there are raw and qcow2"};
}

/// What is wrong with an import that the command line alone tells.
Status check_import(const ImageArguments& arguments) {
  const auto usage = [](std::string message) {
    return Error{Code::InvalidArgument, "USAGE", std::move(message)};
  };
  const auto kind = TRY(kind_of(arguments.kind));
  const auto format = TRY(format_of(arguments.format));
  if (arguments.source.empty() == arguments.host_path.empty())
    return usage(arguments.source.empty()
                     ? "give a FILE to upload, or --host-path PATH"
                     : "give either a FILE to upload or --host-path, not both");
  if (kind == v1::Image::KIND_DISK && format == v1::DISK_FORMAT_UNSPECIFIED)
    return usage("--format raw or qcow2 is required for a disk: it is never guessed");
  return {};
}

Status import(Session& session, const ImageArguments& arguments) {
  TRY(check_change(session));
  TRY(check_import(arguments));
  std::optional<UploadFile> file;
  if (!arguments.source.empty()) file = TRY(open_upload(arguments.source));
  Client& client = *TRY(session.client());
  v1::ImportImageRequest request;
  auto& image = *request.mutable_image();
  image.set_display_name(arguments.name);
  image.set_kind(TRY(kind_of(arguments.kind)));
  image.set_format(TRY(format_of(arguments.format)));
  image.set_sha256(arguments.sha256);
  image.set_description(arguments.description);
  TRY(parse_labels(arguments.labels, *image.mutable_labels()));
  if (!arguments.host.empty()) request.set_host(TRY(select_host(client, arguments.host)).name());
  request.set_request_id(session.request_id());
  request.set_validate_only(session.change.dry_run);
  if (file)
    request.set_upload_bytes(file->size_bytes);
  else
    request.set_host_path(arguments.host_path);
  const auto job = TRY(client.call(&v1::ImageService::Stub::ImportImage, client.images(), request));
  if (file && !session.change.dry_run) {
    TRY(upload(client, job, *file));
  }
  return finish(session, job);
}

Status update(Session& session, const ImageArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::UpdateImageRequest request;
  const auto before = TRY(select_image(client, arguments.name));
  *request.mutable_image() = before;
  auto& image = *request.mutable_image();
  if (!arguments.new_name.empty()) {
    image.set_display_name(arguments.new_name);
    request.mutable_update_mask()->add_paths("display_name");
  }
  if (!arguments.description.empty()) {
    image.set_description(arguments.description);
    request.mutable_update_mask()->add_paths("description");
  }
  if (!arguments.labels.empty()) {
    TRY(parse_labels(arguments.labels, *image.mutable_labels()));
    request.mutable_update_mask()->add_paths("labels");
  }
  if (request.update_mask().paths().empty())
    return Error{Code::InvalidArgument, "USAGE",
                 "nothing to change: give --name, --description or --label"};
  request.set_validate_only(session.change.dry_run);
  const auto changed =
      TRY(client.call(&v1::ImageService::Stub::UpdateImage, client.images(), request));
  const Format format = TRY(session.format());
  if (session.change.dry_run && is_for_people(format))
    print("Plan: UpdateImage " + printable(before.display_name()) + "\nChanges:\n" +
          change_line("display_name", before.display_name(), changed.display_name()) +
          change_line("description", before.description(), changed.description()) +
          label_changes(before.labels(), changed.labels()));
  else
    print(render_one(changed, image_columns(), format));
  return {};
}

Status remove(Session& session, const ImageArguments& arguments) {
  TRY(check_change(session));
  Client& client = *TRY(session.client());
  const auto image = TRY(select_image(client, arguments.name));
  if (!session.change.dry_run)
    TRY(confirm("Delete image " + printable(image.display_name()) + "?", arguments.yes));
  v1::DeleteImageRequest request;
  request.set_name(image.name());
  request.set_request_id(session.request_id());
  request.set_validate_only(session.change.dry_run);
  return finish(session,
                TRY(client.call(&v1::ImageService::Stub::DeleteImage, client.images(), request)));
}

}  // namespace

void add_image(const Verb& app, Session& session) {
  const auto image = app.add_noun("image", "The library: disks, kernels, initial RAM disks, ISOs");
  auto arguments = std::make_shared<ImageArguments>();
  const auto list_verb = image.add("list", "List images").alias("ls");
  list_verb.option("-f,--filter", arguments->filter, "e.g. 'kind = DISK OR kind = ISO'");
  list_verb.option("--order-by", arguments->order_by,
                   "display_name, create_time or update_time; add ' desc'");
  list_verb.flag("-w,--watch", arguments->watch, "Then print every change until Ctrl-C");
  list_verb.does(session, list, arguments);
  const auto show_verb = image.add("show", "Show one image");
  show_verb.option("image", arguments->name, "Name, uid or uid prefix").required();
  show_verb.does(session, show, arguments);
  const auto import_verb = image.add("import", "Bring an image into the library");
  import_verb.option("name", arguments->name, "Display name").required().not_empty();
  import_verb.option("file", arguments->source, "File here, to upload");
  import_verb.option("--host-path", arguments->host_path,
                     "File on the host instead, below a folder its agent allows");
  import_verb.option("--kind", arguments->kind, "disk, kernel, initrd or iso").required();
  import_verb.option("--format", arguments->format,
                     "raw or qcow2; required for a disk, never guessed");
  import_verb.option("--sha256", arguments->sha256, "Refuse other bytes");
  import_verb.option("--host", arguments->host, "Host to bring it to").not_empty();
  import_verb.option("--description", arguments->description, "Free text");
  import_verb.repeated("--label", arguments->labels, "KEY=VALUE; may be repeated");
  add_change_options(import_verb, session.change);
  import_verb.does(session, import, arguments);
  const auto update_verb = image.add("update", "Change name, description or labels");
  update_verb.option("image", arguments->name, "Name, uid or uid prefix").required();
  update_verb.option("--name", arguments->new_name, "New display name").not_empty();
  update_verb.option("--description", arguments->description, "New description");
  update_verb.repeated("--label", arguments->labels, "KEY=VALUE; may be repeated");
  add_dry_run(update_verb, session.change);
  update_verb.does(session, update, arguments);
  const auto delete_verb = image.add("delete", "Remove an image no machine uses").alias("rm");
  delete_verb.option("image", arguments->name, "Name, uid or uid prefix").required();
  delete_verb.flag("-y,--yes", arguments->yes, "Do not ask");
  add_change_options(delete_verb, session.change);
  delete_verb.does(session, remove, arguments);
}

}  // namespace reeve::cli
