// cli/commands/completion.cpp - shell completion: scripts for bash, zsh and fish that ask `reeve
// __complete`, which walks the command tree and, where a name is wanted, asks the server with a
// short deadline.
#include <map>

#include <CLI/CLI.hpp>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

constexpr auto kBudget = std::chrono::milliseconds(300);

const std::map<std::string, std::string, std::less<>>& scripts() {
  static const std::map<std::string, std::string, std::less<>> all{
      {"bash",
       "_reeve() {\n"
       "  local IFS=$'\\n'\n"
       "  COMPREPLY=($(reeve __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n"
       "}\n"
       "complete -F _reeve reeve\n"},
      {"zsh",
       "#compdef reeve\n"
       "_reeve() {\n"
       "  local -a words_found\n"
       "  words_found=(\"${(@f)$(reeve __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
       "  compadd -a words_found\n"
       "}\n"
       "compdef _reeve reeve\n"},
      {"fish",
       "complete -c reeve -f -a '(reeve __complete -- (commandline -opc)[2..-1] (commandline -ct) "
       "2>/dev/null)'\n"}};
  return all;
}

/// Reads pages until the last one or the end of the budget: what has come by then is offered.
template <class Stub, class Request, class Response, class Items>
std::vector<std::string> live_names(Client& client, Stub& stub,
                                    grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                                    const std::string& filter, Items add_names) {
  const auto deadline = std::chrono::system_clock::now() + kBudget;
  Request request;
  request.set_filter(filter);
  request.set_page_size(1000);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    client.prepare(context, std::chrono::seconds(0));
    context.set_deadline(deadline);
    Response response;
    if (!(stub.*method)(&context, request, &response).ok()) return names;
    add_names(response, names);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

/// Names in use that begin with `current`; jobs by their short uids.
std::vector<std::string> names_for(Session& session, const std::string& noun,
                                   const std::string& current) {
  auto connected = session.client();
  if (!connected.ok()) return {};
  Client& client = *connected.value();
  if (noun == "job")
    return live_names(client, client.jobs(), &v1::JobService::Stub::ListJobs, "",
                      [](const v1::ListJobsResponse& page, std::vector<std::string>& names) {
                        for (const auto& job : page.jobs()) names.push_back(short_uid(job.uid()));
                      });
  // A name has no character that means something in a filter.
  if (current.find_first_of("\"\\") != std::string::npos || !is_utf8(current)) return {};
  const std::string filter = "display_name = \"" + current + "*\"";
  const auto add_all = [](const auto& items, std::vector<std::string>& names) {
    for (const auto& item : items) names.push_back(item.display_name());
  };
  if (noun == "vm")
    return live_names(client, client.vms(), &v1::VmService::Stub::ListVms, filter,
                      [&](const v1::ListVmsResponse& page, std::vector<std::string>& names) {
                        add_all(page.vms(), names);
                      });
  if (noun == "host")
    return live_names(client, client.hosts(), &v1::HostService::Stub::ListHosts, filter,
                      [&](const v1::ListHostsResponse& page, std::vector<std::string>& names) {
                        add_all(page.hosts(), names);
                      });
  if (noun == "image")
    return live_names(client, client.images(), &v1::ImageService::Stub::ListImages, filter,
                      [&](const v1::ListImagesResponse& page, std::vector<std::string>& names) {
                        add_all(page.images(), names);
                      });
  return {};
}

/// Which live names the value of an option is.
std::string noun_of_option(const std::string& option) {
  if (option == "--image" || option == "--kernel" || option == "--initrd") return "image";
  if (option == "--host") return "host";
  return {};
}

void add_options(const CLI::App& level, std::vector<std::string>& out) {
  for (const auto* option : level.get_options())
    for (const auto& name : option->get_lnames()) out.push_back("--" + name);
}

std::vector<std::string> complete(CLI::App& app, Session& session,
                                  const std::vector<std::string>& words) {
  CLI::App* level = &app;
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    for (auto* next : level->get_subcommands({}))
      if (next->check_name(words[i])) {
        level = next;
        break;
      }
  const std::string current = words.empty() ? "" : words.back();
  const std::string before = words.size() < 2 ? "" : words[words.size() - 2];
  std::vector<std::string> found;
  if (const auto noun = noun_of_option(before); !noun.empty()) {
    found = names_for(session, noun, current);
  } else if (before == "-o" || before == "--output") {
    found = {"table", "wide", "json", "yaml", "csv", "name"};
  } else if (current.starts_with("-")) {
    add_options(*level, found);
    add_options(app, found);
  } else if (const auto nouns = level->get_subcommands({}); !nouns.empty()) {
    for (const auto* next : nouns) found.push_back(next->get_name());
  } else if (level->get_parent() && level->get_name() != "create" &&
             level->get_name() != "import") {
    found = names_for(session, level->get_parent()->get_name(), current);
  }
  std::erase_if(found, [&](const std::string& word) { return !word.starts_with(current); });
  return found;
}

}  // namespace

void print_completions(CLI::App& app, Session& session, const std::vector<std::string>& words) {
  for (const auto& word : complete(app, session, words)) print(printable(word) + "\n");
}

void add_completion(const Verb& app, Session& session) {
  auto shell = std::make_shared<std::string>();
  const auto completion =
      app.add("completion", "Print a completion script: source <(reeve completion bash)");
  completion.option("shell", *shell, "bash, zsh or fish")
      .required()
      .one_of({"bash", "zsh", "fish"});
  completion.does(session, [shell]() -> Status {
    print(scripts().at(*shell));
    return {};
  });
}

}  // namespace reeve::cli
