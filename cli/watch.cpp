#include "cli/watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/clock.h"
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
                                 std::int64_t& revision) {
  grpc::ClientContext context;
  client.prepare(context, std::chrono::seconds(0));
  v1::WatchRequest request;
  request.set_from_revision(revision);
  for (const auto& kind : options.kinds) request.add_kinds(kind);
  request.set_progress(options.progress);
  auto stream = client.events().Watch(&context, request);
  v1::WatchResponse response;
  while (stream->Read(&response)) {
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

std::string render_event(const v1::Event& event, Format format) {
  if (format == Format::Json) return to_json(event, false) + "\n";
  if (format == Format::Yaml) return "---\n" + json_to_yaml(to_json(event, true));
  if (format == Format::Name) return event.resource() + "\n";
  const WallTime time{std::chrono::seconds(event.time().seconds()) +
                      std::chrono::microseconds(event.time().nanos() / 1000)};
  const std::string type = short_enum(v1::Event::Type_Name(event.type()), "TYPE_");
  if (format == Format::Csv)
    return render_csv({.titles = {std::to_string(event.revision()), to_rfc3339(time), type,
                                  event.resource(), event.actor(), event.job(), what(event)}});
  return fmt::format("{:>8}  {}  {:<8}  {:<42}  {}\n", event.revision(),
                     to_rfc3339(time).substr(0, 19), type, event.resource(), what(event));
}

Status watch(Session& session, WatchOptions options) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  std::int64_t revision = options.from_revision;
  flush_output();  // a list printed before is seen before the first change
  for (;;) {
    const auto status = stream_once(client, options, format, revision);
    const Error error = !status.ok() ? status.error()
                        : status.value().ok()
                            ? Error(Code::Unavailable, "STREAM_ENDED", "the server ended the watch")
                            : error_of(status.value());
    const bool retry = error.code() == Code::Unavailable || error.reason() == "WATCH_TOO_SLOW";
    if (!retry) return error;
    note("watch interrupted (" + error.message() + "); resuming from revision " +
         std::to_string(revision));
    ::usleep(1'000'000);
  }
}

}  // namespace reeve::cli
