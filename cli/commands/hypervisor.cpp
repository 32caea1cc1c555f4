// cli/commands/hypervisor.cpp - reeve hypervisor.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/names.h"
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

std::vector<Column<v1::Hypervisor>> columns_with(Names& names) {
  return hypervisor_columns([&names](const auto& resource) { return names.of(resource); });
}

Status list(Session& session, const HypervisorArguments& arguments) {
  Client& client = *TRY(session.client());
  const auto host =
      arguments.host.empty() ? std::string() : TRY(select_host(client, arguments.host)).name();
  const Format format = TRY(session.format());
  Names names(client, Names::Expect::Many);
  print(render_list(TRY(all_hypervisors(client, host, arguments.filter, arguments.order_by)).items,
                    columns_with(names), format));
  return {};
}

std::string describe(const v1::Hypervisor& hypervisor, Names& names) {
  std::string out =
      render_table(make_table(std::vector{hypervisor}, columns_with(names), Columns::Usual));
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
  Names names(client, Names::Expect::One);
  print(format == Format::Table ? describe(hypervisor, names)
                                : render_one(hypervisor, columns_with(names), format));
  return {};
}

}  // namespace

void add_hypervisor(const Verb& app, Session& session) {
  const auto hypervisor = app.add_noun("hypervisor", "What runs machines on the hosts");
  auto arguments = std::make_shared<HypervisorArguments>();
  const auto list_verb = hypervisor.add("list", "List hypervisors").alias("ls");
  list_verb.option("--host", arguments->host, "Only those of this host").not_empty();
  list_verb.option("-f,--filter", arguments->filter, "e.g. 'kind = LIBVIRT'");
  list_verb.option("--order-by", arguments->order_by, "id, or 'id desc'");
  list_verb.does(session, list, arguments);
  const auto show_verb = hypervisor.add("show", "Show one hypervisor");
  show_verb.option("hypervisor", arguments->name, "Id, HOST/ID or resource name").required();
  show_verb.does(session, show, arguments);
}

}  // namespace reeve::cli
