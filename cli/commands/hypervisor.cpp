// cli/commands/hypervisor.cpp - reeve hypervisor.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/output/resources.h"
#include "cli/select.h"

namespace reeve::cli {
namespace {

struct HypervisorArguments {
  std::string name{};
  std::string host{};
  std::string filter{};
  std::string order_by{};
};

Result<std::vector<v1::Hypervisor>> all_hypervisors(Client& client,
                                                    v1::ListHypervisorsRequest request) {
  std::vector<v1::Hypervisor> all;
  request.set_page_size(1000);
  do {
    auto page = TRY(
        client.call(&v1::HypervisorService::Stub::ListHypervisors, client.hypervisors(), request));
    for (auto& item : *page.mutable_hypervisors()) all.push_back(std::move(item));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Status list(Session& session, const HypervisorArguments& arguments) {
  Client& client = *TRY(session.client());
  v1::ListHypervisorsRequest request;
  request.set_filter(arguments.filter);
  request.set_order_by(arguments.order_by);
  if (!arguments.host.empty()) request.set_parent(TRY(select_host(client, arguments.host)).name());
  const Format format = TRY(session.format());
  print(render_list(TRY(all_hypervisors(client, request)), hypervisor_columns(), format));
  return {};
}

Result<v1::Hypervisor> get(Client& client, const std::string& name) {
  v1::GetHypervisorRequest request;
  request.set_name(name);
  return client.call(&v1::HypervisorService::Stub::GetHypervisor, client.hypervisors(), request);
}

/// By resource name, HOST/ID, or an id that one host only has.
Result<v1::Hypervisor> select_hypervisor(Client& client, const std::string& text) {
  if (text.starts_with("hosts/")) return get(client, text);
  if (const auto slash = text.find('/'); slash != std::string::npos) {
    const auto host = TRY(select_host(client, text.substr(0, slash)));
    return get(client, host.name() + "/hypervisors/" + text.substr(slash + 1));
  }
  std::vector<v1::Hypervisor> found;
  for (auto& item : TRY(all_hypervisors(client, {})))
    if (item.id() == text) found.push_back(std::move(item));
  if (found.size() == 1) return std::move(found.front());
  if (found.empty())
    return Error(Code::NotFound, "HYPERVISOR_NOT_FOUND", "no hypervisor matches '" + text + "'")
        .remedy("list them with: reeve hypervisor list");
  std::string message = "'" + text + "' is on " + std::to_string(found.size()) + " hosts:";
  for (const auto& item : found) message += "\n  " + item.name();
  return Error(Code::InvalidArgument, "AMBIGUOUS", std::move(message)).remedy("give HOST/" + text);
}

std::string describe(const v1::Hypervisor& hypervisor) {
  std::string out = render_table(make_table(std::vector{hypervisor}, hypervisor_columns(), false));
  out += fmt::format(
      "\nname:         {}\nuri:          {}\ncapabilities: {}\n", hypervisor.name(),
      printable(hypervisor.uri()),
      printable(join({hypervisor.capabilities().begin(), hypervisor.capabilities().end()}, ", ")));
  if (!hypervisor.available())
    out += "not available: " + printable(hypervisor.description()) + "\n";
  for (const auto& warning : hypervisor.warnings()) out += "warning: " + printable(warning) + "\n";
  return out;
}

Status show(Session& session, const HypervisorArguments& arguments) {
  const Format format = TRY(session.format());
  Client& client = *TRY(session.client());
  const auto hypervisor = TRY(select_hypervisor(client, arguments.name));
  print(format == Format::Table ? describe(hypervisor)
                                : render_one(hypervisor, hypervisor_columns(), format));
  return {};
}

}  // namespace

void add_hypervisor(const Verb& app, Session& session) {
  const auto hypervisor = app.add_noun("hypervisor", "What runs machines on the hosts");
  auto arguments = std::make_shared<HypervisorArguments>();
  const auto run = [&session, arguments](const Verb& verb,
                                         Status (*function)(Session&, const HypervisorArguments&)) {
    verb.does(session, [&session, arguments, function] { return function(session, *arguments); });
  };
  const auto list_verb = hypervisor.add("list", "List hypervisors").alias("ls");
  list_verb.option("--host", arguments->host, "Only those of this host");
  list_verb.option("-f,--filter", arguments->filter, "e.g. 'kind = LIBVIRT'");
  list_verb.option("--order-by", arguments->order_by, "id, or 'id desc'");
  run(list_verb, list);
  const auto show_verb = hypervisor.add("show", "Show one hypervisor");
  show_verb.option("hypervisor", arguments->name, "Id, HOST/ID or resource name").required();
  run(show_verb, show);
}

}  // namespace reeve::cli
