#include "cli/watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

std::string what(const v1::Event& event) {
  switch (event.object_case()) {
    case v1::Event::kVm:
      return printable(event.vm().display_name()) + "  " +
             short_enum(v1::VirtualMachine::State_Name(event.vm().state()), "STATE_");
    case v1::Event::kHost:
      return printable(event.host().display_name()) + "  " +
             short_enum(v1::Host::State_Name(event.host().state()), "STATE_");
    case v1::Event::kImage:
      return printable(event.image().display_name()) + "  " +
             short_enum(v1::Image::State_Name(event.image().state()), "STATE_");
    case v1::Event::kJobObject: {
      const auto& job = event.job_object();
      std::string text = job.kind() + " " + printable(job.target_display_name()) + "  " +
                         short_enum(v1::Job::State_Name(job.state()), "STATE_");
      if (job.has_progress() && job.progress().percent() >= 0)
        text +=
            fmt::format("  {} {}%", printable(job.progress().phase()), job.progress().percent());
      return text;
    }
    default: return {};
  }
}

template <class T>
v1::Event last_change_of(const T& object) {
  v1::Event event;
  event.set_revision(object.revision());
  event.set_type(v1::Event::TYPE_CHANGED);
  event.set_resource(object.name());
  return event;
}

/// Whether the filter lets an event through: its object matches now, or did when it was last shown.
Result<bool> is_asked_for(Client& client, const v1::Event& event, WatchOptions& options) {
  if (options.filter.empty() || event.resource().empty()) return true;
  const bool was_shown = options.shown.contains(event.resource());
  if (event.type() != v1::Event::TYPE_DELETED && TRY(matches(client, event, options.filter))) {
    options.shown.insert(event.resource());
    return true;
  }
  options.shown.erase(event.resource());
  return was_shown;
}

/// Copies events to stdout until the stream ends; keeps the revision to resume from. An error is
/// one of the filter's calls.
Result<grpc::Status> stream_once(Client& client, WatchOptions& options, Format format,
                                 std::int64_t& revision, bool& interrupted) {
  grpc::ClientContext context;
  client.prepare(context, std::chrono::seconds(0));
  v1::WatchRequest request;
  request.set_from_revision(revision);
  for (const auto& kind : options.kinds) request.add_kinds(kind);
  request.set_progress(options.progress);
  auto stream = client.events().Watch(&context, request);
  v1::WatchResponse response;
  while (stream->Read(&response)) {
    if (std::exchange(interrupted, false)) note("watch goes on");
    const auto& event = response.event();
    const auto asked_for = is_asked_for(client, event, options);
    if (!asked_for.ok()) {
      context.TryCancel();
      return asked_for.error();
    }
    if (event.revision() > revision) revision = event.revision();
    if (!asked_for.value()) continue;
    if (event.type() == v1::Event::TYPE_BOOKMARK && format != Format::Json) continue;
    print(render_event(event, format));
    flush_output();
  }
  return stream->Finish();
}

}  // namespace

v1::Event event_of(const v1::VirtualMachine& vm) {
  v1::Event event = last_change_of(vm);
  *event.mutable_time() = vm.update_time();
  *event.mutable_vm() = vm;
  return event;
}
v1::Event event_of(const v1::Host& host) {
  v1::Event event = last_change_of(host);
  *event.mutable_time() = host.update_time();
  *event.mutable_host() = host;
  return event;
}
v1::Event event_of(const v1::Image& image) {
  v1::Event event = last_change_of(image);
  *event.mutable_time() = image.update_time();
  *event.mutable_image() = image;
  return event;
}
v1::Event event_of(const v1::Job& job) {
  v1::Event event = last_change_of(job);
  if (job.has_end_time()) *event.mutable_time() = job.end_time();
  *event.mutable_job_object() = job;
  return event;
}

std::string event_titles(Format format) {
  if (format != Format::Csv) return {};
  return render_csv({.titles = {"REVISION", "TIME", "TYPE", "RESOURCE", "ACTOR", "JOB", "OBJECT"}});
}

std::string render_event(const v1::Event& event, Format format) {
  if (format == Format::Json) return to_json(event, false) + "\n";
  if (format == Format::Yaml) return "---\n" + json_to_yaml(to_json(event, true));
  if (format == Format::Name) return event.resource() + "\n";
  const std::string time = event.has_time() ? time_text(event.time()) : "";
  const std::string type = short_enum(v1::Event::Type_Name(event.type()), "TYPE_");
  if (format == Format::Csv)
    return render_csv({.titles = {std::to_string(event.revision()), time, type, event.resource(),
                                  event.actor(), event.job(), what(event)}});
  return fmt::format("{:>8}  {}  {:<8}  {:<42}  {}\n", event.revision(), time.substr(0, 19), type,
                     event.resource(), what(event));
}

Status watch(Session& session, WatchOptions options) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  std::int64_t revision = options.from_revision;
  flush_output();  // a list printed before is seen before the first change
  bool interrupted = false;
  for (;;) {
    const auto status = stream_once(client, options, format, revision, interrupted);
    const Error error = !status.ok() ? status.error()
                        : status.value().ok()
                            ? Error(Code::Unavailable, "STREAM_ENDED", "the server ended the watch")
                            : error_of(status.value());
    const bool retry = error.code() == Code::Unavailable || error.reason() == "WATCH_TOO_SLOW";
    if (!retry) return error;
    if (!std::exchange(interrupted, true))
      note("watch interrupted (" + error.message() + "); it goes on when the server answers");
    ::usleep(1'000'000);
  }
}

}  // namespace reeve::cli
