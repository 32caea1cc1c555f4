// cli/commands/host.cpp - reeve host.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/parse.h"
#include "cli/follow.h"
#include "cli/output/resources.h"
#include "cli/select.h"
#include "cli/watch.h"

namespace reeve::cli {
namespace {

struct HostArguments {
  std::string name{};
  std::string filter{};
  std::string order_by{};
  std::string new_name{};
  std::vector<std::string> labels{};
  int lifetime_minutes = 60;
  bool watch = false;
  bool force = false;
  bool yes = false;
};

Status list(Session& session, const HostArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  const auto listed = TRY(all_hosts(client, arguments.filter, arguments.order_by));
  if (!arguments.watch) return print(render_list(listed.items, host_columns(), format)), Status();
  auto options = TRY(watch_from(client, "hosts", listed, arguments.filter));
  print(render_before_watch(listed, host_columns(), format));
  return watch(session, std::move(options));
}

/// The processors, with their features, and the memory cells.
std::string processors(const v1::HostStatus& status) {
  const auto& cpu = status.cpu();
  std::string out =
      page_line("cpu:", fmt::format("{} ({} threads, {} cores, {} sockets)", cpu.model(),
                                    cpu.threads(), cpu.cores(), cpu.sockets()));
  out += page_line("cpu features:", join({cpu.features().begin(), cpu.features().end()}, " "));
  for (const auto& node : status.numa_nodes())
    out += page_line(fmt::format("numa node {}:", node.id()),
                     human_bytes(node.memory_mib() << 20) + "  cpus " + node.cpus());
  return out;
}

std::string devices(const v1::HostStatus& status) {
  std::string out;
  for (const auto& disk : status.disks())
    out += page_line("disk:",
                     disk.device() + "  " + human_bytes(disk.size_bytes()) + "  " + disk.model());
  for (const auto& nic : status.nics()) {
    std::string text = nic.device() + "  " + nic.mac() + (nic.up() ? "" : "  down");
    for (const auto& address : nic.addresses()) text += "  " + address;
    out += page_line("nic:", text + (nic.bridge() ? "  bridge" : ""));
  }
  return out;
}

std::string describe(const v1::Host& host) {
  std::string out =
      render_table(make_table(std::vector{host}, host_columns(), Columns::Usual)) + "\n";
  const auto& status = host.status();
  out += page_line("uid:", host.uid()) + page_line("labels:", join_map(host.labels()));
  out += page_line("os:", status.os() + ", kernel " + status.kernel());
  out += page_line("agent:", status.agent_version()) + processors(status);
  out += page_line("store:", human_bytes(status.store_free_bytes()) + " free of " +
                                 human_bytes(status.store_total_bytes()));
  out += page_line("kvm:", status.kvm().description()) + devices(status);
  for (const auto& hypervisor : host.hypervisors()) {
    out += fmt::format("hypervisor {}: {} {}  {}\n", hypervisor.id(), hypervisor.uri(),
                       printable(hypervisor.version()),
                       hypervisor.available()
                           ? "available"
                           : "not available: " + printable(hypervisor.description()));
    for (const auto& warning : hypervisor.warnings())
      out += "  warning: " + printable(warning) + "\n";
  }
  return out + actions_text(host.allowed_actions());
}

Status show(Session& session, const HostArguments& arguments) {
  const Format format = TRY(session.format());
  const auto client = TRY(session.client());
  const auto host = TRY(select_host(*client, arguments.name));
  print(format == Format::Table ? describe(host) : render_one(host, host_columns(), format));
  return {};
}

Status enroll_token(Session& session, const HostArguments& arguments) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  TRY(require_no_list_format(format, "an enrol token"));
  v1::CreateEnrollTokenRequest request;
  request.mutable_lifetime()->set_seconds(std::int64_t{arguments.lifetime_minutes} * 60);
  request.set_host_display_name(arguments.new_name);
  const auto token =
      TRY(client.call(&v1::HostService::Stub::CreateEnrollToken, client.hosts(), request));
  if (!is_for_people(format)) return print(render_document(token, format)), Status();
  note(fmt::format("Paste this on the host, as root, within {} minutes:",
                   arguments.lifetime_minutes));
  print(token.command() + "\n");
  return {};
}

Status update(Session& session, const HostArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::UpdateHostRequest request;
  const auto before = TRY(select_host(client, arguments.name));
  *request.mutable_host() = before;
  if (!arguments.new_name.empty()) {
    request.mutable_host()->set_display_name(arguments.new_name);
    request.mutable_update_mask()->add_paths("display_name");
  }
  if (!arguments.labels.empty()) {
    TRY(parse_labels(arguments.labels, *request.mutable_host()->mutable_labels()));
    request.mutable_update_mask()->add_paths("labels");
  }
  if (request.update_mask().paths().empty())
    return Error{Code::InvalidArgument, "USAGE", "nothing to change: give --name or --label"};
  request.set_validate_only(session.change.dry_run);
  const auto host = TRY(client.call(&v1::HostService::Stub::UpdateHost, client.hosts(), request));
  const Format format = TRY(session.format());
  if (session.change.dry_run && is_for_people(format))
    print("Plan: UpdateHost " + printable(before.display_name()) + "\nChanges:\n" +
          change_line("display_name", before.display_name(), host.display_name()) +
          label_changes(before.labels(), host.labels()));
  else
    print(render_one(host, host_columns(), format));
  return {};
}

Status remove(Session& session, const HostArguments& arguments) {
  const Format format = TRY(session.format());
  TRY(require_no_list_format(format, "what goes with a host"));
  Client& client = *TRY(session.client());
  const auto host = TRY(select_host(client, arguments.name));
  const bool dry_run = session.change.dry_run;
  TRY(confirm(
      "Remove host " + printable(host.display_name()) + " from the inventory? Its machines run on.",
      arguments.yes || dry_run));
  v1::DeleteHostRequest request;
  request.set_name(host.name());
  request.set_force(arguments.force);
  request.set_validate_only(dry_run);
  const auto removed =
      TRY(client.call(&v1::HostService::Stub::DeleteHost, client.hosts(), request));
  if (!is_for_people(format)) print(render_document(removed, format));
  note(fmt::format("host {} {}, with the records of {} machines and {} images",
                   printable(host.display_name()), dry_run ? "would be removed" : "removed",
                   removed.vms_size(), removed.images_size()));
  return {};
}

}  // namespace

void add_host(const Verb& app, Session& session) {
  const auto host = app.add_noun("host", "Hosts and how they join");
  auto arguments = std::make_shared<HostArguments>();
  const auto list_verb = host.add("list", "List hosts").alias("ls");
  list_verb.option("-f,--filter", arguments->filter,
                   "e.g. 'state = CONNECTED AND NOT label.rack:*'");
  list_verb.option("--order-by", arguments->order_by,
                   "display_name, create_time or update_time; add ' desc'");
  list_verb.flag("-w,--watch", arguments->watch, "Then print every change until Ctrl-C");
  list_verb.does(session, list, arguments);
  const auto show_verb = host.add("show", "Show one host");
  show_verb.option("host", arguments->name, "Name, uid or uid prefix").required();
  show_verb.does(session, show, arguments);
  const auto token_verb =
      host.add("enroll-token", "Make a single-use token and the line to paste on the host");
  token_verb
      .option("--minutes", arguments->lifetime_minutes, "How long it can be used (default 60)")
      .between(1, 7 * 24 * 60);
  token_verb.option("--name", arguments->new_name, "Display name the host shall get").not_empty();
  token_verb.does(session, enroll_token, arguments);
  const auto update_verb = host.add("update", "Change name or labels");
  update_verb.option("host", arguments->name, "Name, uid or uid prefix").required();
  update_verb.option("--name", arguments->new_name, "New display name").not_empty();
  update_verb.repeated("--label", arguments->labels, "KEY=VALUE; may be repeated");
  add_dry_run(update_verb, session.change);
  update_verb.does(session, update, arguments);
  const auto delete_verb =
      host.add("delete", "Remove a host from the inventory; its machines run on").alias("rm");
  delete_verb.option("host", arguments->name, "Name, uid or uid prefix").required();
  delete_verb.flag("--force", arguments->force, "Also with machines and images on it");
  delete_verb.flag("-y,--yes", arguments->yes, "Do not ask");
  add_dry_run(delete_verb, session.change);
  delete_verb.does(session, remove, arguments);
}

}  // namespace reeve::cli
