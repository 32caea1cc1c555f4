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
  std::string filter{};
  std::string order_by{};
  bool progress = false;
};

struct AuditArguments {
  std::string filter{};
  std::string order_by{};
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
  request.set_filter(arguments.filter);
  request.set_order_by(arguments.order_by);
  print(event_titles(format));
  do {
    const auto page =
        TRY(client.call(&v1::EventService::Stub::ListEvents, client.events(), request));
    for (const auto& event : page.events()) print(render_event(event, format));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return {};
}

Status audit(Session& session, const AuditArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::ListAuditEntriesRequest request;
  request.set_filter(arguments.filter);
  request.set_order_by(arguments.order_by);
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
  list_verb.option("-f,--filter", arguments->filter,
                   "e.g. 'type = DELETED AND time > \"2026-11-01T00:00:00Z\"'");
  list_verb.option("--order-by", arguments->order_by,
                   "revision (default), or 'revision desc' for the newest first");
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
  const auto audit_arguments = std::make_shared<AuditArguments>();
  const auto audit_verb = event.add("audit", "The audit log, newest first");
  audit_verb.option("-f,--filter", audit_arguments->filter,
                    "e.g. 'method = \"VmService/*\" AND code != OK'");
  audit_verb.option("--order-by", audit_arguments->order_by,
                    "'sequence desc' (default), or sequence for the oldest first");
  audit_verb.does(session, audit, audit_arguments);
}

}  // namespace reeve::cli
