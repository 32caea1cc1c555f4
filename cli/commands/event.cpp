// cli/commands/event.cpp - reeve event: history, watch, audit log.
#include <fmt/format.h>

#include "cli/commands/commands.h"
#include "cli/output/resources.h"
#include "cli/select.h"
#include "cli/watch.h"

namespace reeve::cli {
namespace {

struct EventArguments {
  std::int64_t from_revision = 0;
  std::string resource{};
  std::vector<std::string> kinds{};
  bool progress = false;
};

Status list(Session& session, const EventArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  v1::ListEventsRequest request;
  request.set_page_size(1000);
  request.set_from_revision(arguments.from_revision);
  if (!arguments.resource.empty())
    request.set_resource(TRY(select_resource(client, arguments.resource)));
  for (const auto& kind : arguments.kinds) request.add_kinds(kind);
  print(event_titles(format));
  do {
    const auto page =
        TRY(client.call(&v1::EventService::Stub::ListEvents, client.events(), request));
    for (const auto& event : page.events()) print(render_event(event, format));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return {};
}

Status audit(Session& session) {
  Client& client = *TRY(session.client());
  v1::ListAuditEntriesRequest request;
  request.set_page_size(1000);
  std::vector<v1::AuditEntry> all;
  do {
    const auto page =
        TRY(client.call(&v1::EventService::Stub::ListAuditEntries, client.events(), request));
    all.insert(all.end(), page.entries().begin(), page.entries().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  const Format format = TRY(session.format());
  if (format == Format::Name)
    return Error{Code::InvalidArgument, "USAGE", "audit entries have no name; choose another -o"};
  if (format == Format::Csv)
    return print(render_csv(make_table(all, audit_columns(), Columns::Csv))), Status{};
  if (format == Format::Table || format == Format::Wide)
    return print(render_table(make_table(all, audit_columns(),
                                         format == Format::Wide ? Columns::Wide : Columns::Usual))),
           Status{};
  std::string json = "[";
  for (const auto& entry : all) json += (json.size() > 1 ? ",\n" : "\n") + to_json(entry, false);
  json += "\n]\n";
  print(format == Format::Json ? json : json_to_yaml(json));
  return {};
}

}  // namespace

void add_event(const Verb& app, Session& session) {
  const auto event = app.add_noun("event", "What changed, and who changed it");
  auto arguments = std::make_shared<EventArguments>();
  const auto add_common = [&](const Verb& verb) {
    verb.option("--from", arguments->from_revision,
                "Changes after this revision; 0 for all kept, -1 for only new ones");
    verb.repeated("--kind", arguments->kinds, "hosts, vms, images or jobs; may be repeated");
  };
  const auto list_verb = event.add("list", "Past changes, oldest first").alias("ls");
  add_common(list_verb);
  list_verb.option("--resource", arguments->resource,
                   "Only of this one: a display name, or a resource name such as vms/UID");
  list_verb.does(session, list, arguments);
  const auto watch_verb =
      event.add("watch", "Changes as they happen; one JSON object a line with -o json");
  add_common(watch_verb);
  watch_verb.flag("--progress", arguments->progress, "Also live progress of jobs");
  watch_verb.does(session, [&session, arguments, watch_verb]() -> Status {
    print(event_titles(TRY(session.format())));
    return watch(session,
                 {.kinds = arguments->kinds,
                  .progress = arguments->progress,
                  .from_revision = watch_verb.was_given("--from") ? arguments->from_revision : -1});
  });
  event.add("audit", "The audit log").does(session, [&session] { return audit(session); });
}

}  // namespace reeve::cli
