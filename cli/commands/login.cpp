// cli/commands/login.cpp - reeve login, and reeve context: which servers this user talks to.
#include <charconv>

#include <unistd.h>

#include "base/crypto/peer_chain.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/parse.h"

namespace reeve::cli {
namespace {

struct LoginArguments {
  std::string server{};
  std::string token{};
  std::string token_file{};
  std::string fingerprint{};
  std::string name = "default";
  bool yes = false;
};

Result<std::string> token_of(const LoginArguments& arguments) {
  if (!arguments.token.empty()) return arguments.token;
  if (arguments.token_file.empty())
    return Error(Code::InvalidArgument, "USAGE", "no token given")
        .remedy(
            "give --token-file FILE; the server prints the path of its first one at its first "
            "start");
  return std::string(trim(TRY(read_input(arguments.token_file, 4096))));
}

Result<crypto::PeerChain> chain_of(const std::string& server) {
  const auto colon = server.rfind(':');
  std::uint16_t port = 0;
  const char* end = server.data() + server.size();
  if (colon == std::string::npos ||
      std::from_chars(server.data() + colon + 1, end, port).ptr != end || port == 0)
    return Error{Code::InvalidArgument, "USAGE", "'" + server + "' is not HOST:PORT"};
  return crypto::fetch_peer_chain(server.substr(0, colon), port, std::chrono::seconds(10));
}

Status log_in(Session& session, const LoginArguments& arguments) {
  const std::string token = TRY(token_of(arguments));
  const auto presented = TRY(chain_of(arguments.server));
  if (!arguments.fingerprint.empty()) {
    if (arguments.fingerprint != presented.ca_fingerprint)
      return Error(Code::PermissionDenied, "FINGERPRINT_MISMATCH",
                   arguments.server + " shows a CA with fingerprint " + presented.ca_fingerprint)
          .remedy("compare it with what reeve-server prints when it starts");
  } else if (!arguments.yes && ::isatty(STDIN_FILENO) != 1) {
    return Error(Code::InvalidArgument, "USAGE",
                 "nobody is here to be asked whether to trust the CA of " + arguments.server +
                     ", whose SHA-256 fingerprint is " + presented.ca_fingerprint)
        .remedy(
            "compare it with what reeve-server prints when it starts, then give --fingerprint " +
            presented.ca_fingerprint + ", or --yes to trust it unseen");
  } else {
    TRY(confirm("The CA of " + arguments.server + " has the SHA-256 fingerprint\n  " +
                    presented.ca_fingerprint + "\nTrust it?",
                arguments.yes));
  }
  const Context context{.server = arguments.server, .token = token, .ca_pem = presented.ca_pem};
  Client client(context, session.debug);
  const auto self = TRY(client.call(&v1::ServerService::Stub::GetSelf, client.server(), {}));
  Contexts contexts = TRY(load_contexts(contexts_path()));
  contexts.by_name[arguments.name] = context;
  contexts.current = arguments.name;
  TRY(save_contexts(contexts_path(), contexts));
  note("logged in to " + arguments.server + " as " + self.actor() + " (" +
       short_enum(v1::Role_Name(self.role()), "ROLE_") + "), context '" + arguments.name + "'");
  return {};
}

std::string contexts_json(const Contexts& contexts) {
  const auto quoted = [](const std::string& text) {
    std::string out = "\"";
    append_json_escaped(out, text);
    return out + "\"";
  };
  std::string json = "[";
  for (const auto& [name, context] : contexts.by_name)
    json += (json.size() > 1 ? ",\n" : "\n") + ("{\"name\":" + quoted(name)) +
            ",\"server\":" + quoted(context.server) +
            ",\"current\":" + (name == contexts.current ? "true}" : "false}");
  return json + (json.size() > 1 ? "\n]\n" : "]\n");
}

Status list_contexts(Session& session) {
  const Format format = TRY(session.format());
  const Contexts contexts = TRY(load_contexts(contexts_path()));
  if (format == Format::Json || format == Format::Yaml) {
    const std::string json = contexts_json(contexts);
    return print(format == Format::Json ? json : json_to_yaml(json)), Status();
  }
  const bool people = is_for_people(format);
  Table table{.titles = {people ? "" : "CURRENT", "NAME", "SERVER"}};
  for (const auto& [name, context] : contexts.by_name) {
    const bool current = name == contexts.current;
    const std::string mark = people ? (current ? "*" : "") : (current ? "true" : "false");
    table.rows.push_back({mark, name, context.server});
    if (format == Format::Name) print(name + "\n");
  }
  if (format != Format::Name) print(people ? render_table(table) : render_csv(table));
  return {};
}

Status use_context(const std::string& name) {
  Contexts contexts = TRY(load_contexts(contexts_path()));
  TRY(find_context(contexts, name));
  contexts.current = name;
  return save_contexts(contexts_path(), contexts);
}

Status forget_context(const std::string& name) {
  Contexts contexts = TRY(load_contexts(contexts_path()));
  TRY(find_context(contexts, name));
  contexts.by_name.erase(name);
  if (contexts.current == name) contexts.current.clear();
  return save_contexts(contexts_path(), contexts);
}

}  // namespace

void add_login(const Verb& app, Session& session) {
  const auto login = app.add("login", "Log in to a server and remember it");
  auto arguments = std::make_shared<LoginArguments>();
  login.option("server", arguments->server, "HOST:PORT of the API").required();
  login.option("--token", arguments->token,
               "API token (seen by other users of this machine: prefer --token-file)");
  login.option("--token-file", arguments->token_file,
               "File with the API token, - for standard input");
  login.option("--fingerprint", arguments->fingerprint,
               "Expected SHA-256 fingerprint of the server's CA");
  login.option("--name", arguments->name, "Name of the context (default: default)").not_empty();
  login.flag("-y,--yes", arguments->yes, "Trust the shown fingerprint without asking");
  login.does(session, log_in, arguments);

  const auto context = app.add_noun("context", "Show and choose remembered servers");
  context.add("list", "List contexts").alias("ls").does(session, [&session] {
    return list_contexts(session);
  });
  auto name = std::make_shared<std::string>();
  const auto use = context.add("use", "Make a context the current one");
  use.option("name", *name, "Name of the context").required();
  use.does(session, [name] { return use_context(*name); });
  const auto forget = context.add("forget", "Forget a context and its token");
  forget.option("name", *name, "Name of the context").required();
  forget.does(session, [name] { return forget_context(*name); });
}

}  // namespace reeve::cli
