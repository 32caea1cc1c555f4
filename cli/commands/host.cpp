// cli/commands/host.cpp - reeve host.
#include <fmt/format.h>

#include "cli/commands/commands.h"
#include "cli/commands/parse.h"
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
  print(render_list(listed.items, host_columns(), format));
  if (!arguments.watch) return {};
  return watch(session, watch_from("hosts", listed, arguments.filter));
}

std::string describe(const v1::Host& host) {
  std::string out =
      render_table(make_table(std::vector{host}, host_columns(), Columns::Usual)) + "\n";
  const auto& status = host.status();
  out += fmt::format(
      "uid:      {}\nos:       {}, kernel {}\ncpu:      {} ({} threads, {} cores, {} "
      "sockets)\nkvm:      {}\n",
      host.uid(), printable(status.os()), printable(status.kernel()),
      printable(status.cpu().model()), status.cpu().threads(), status.cpu().cores(),
      status.cpu().sockets(), printable(status.kvm().description()));
  for (const auto& disk : status.disks())
    out += fmt::format("disk:     {}  {}  {}\n", disk.device(), human_bytes(disk.size_bytes()),
                       printable(disk.model()));
  for (const auto& nic : status.nics()) {
    out += fmt::format("nic:      {}  {}{}", nic.device(), nic.mac(), nic.up() ? "" : "  down");
    for (const auto& address : nic.addresses()) out += "  " + address;
    out += nic.bridge() ? "  bridge\n" : "\n";
  }
  for (const auto& hypervisor : host.hypervisors()) {
    out += fmt::format("hypervisor {}: {} {}  {}\n", hypervisor.id(), hypervisor.uri(),
                       printable(hypervisor.version()),
                       hypervisor.available()
                           ? "available"
                           : "not available: " + printable(hypervisor.description()));
    for (const auto& warning : hypervisor.warnings())
      out += "  warning: " + printable(warning) + "\n";
  }
  return out;
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
  v1::CreateEnrollTokenRequest request;
  request.mutable_lifetime()->set_seconds(std::int64_t{arguments.lifetime_minutes} * 60);
  request.set_host_display_name(arguments.new_name);
  const auto token =
      TRY(client.call(&v1::HostService::Stub::CreateEnrollToken, client.hosts(), request));
  if (format == Format::Json || format == Format::Yaml) {
    const std::string json = to_json(token, true);
    print(format == Format::Json ? json : json_to_yaml(json));
    return {};
  }
  note(fmt::format("Paste this on the host, as root, within {} minutes:",
                   arguments.lifetime_minutes));
  print(token.command() + "\n");
  return {};
}

Status update(Session& session, const HostArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::UpdateHostRequest request;
  *request.mutable_host() = TRY(select_host(client, arguments.name));
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
  print(render_one(host, host_columns(), TRY(session.format())));
  return {};
}

Status remove(Session& session, const HostArguments& arguments) {
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
  const Format format = TRY(session.format());
  if (format == Format::Json || format == Format::Yaml) {
    const std::string json = to_json(removed, true);
    print(format == Format::Json ? json : json_to_yaml(json));
  }
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
  list_verb.option("-f,--filter", arguments->filter, "e.g. 'state = CONNECTED'");
  list_verb.option("--order-by", arguments->order_by, "display_name, create_time or update_time");
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
