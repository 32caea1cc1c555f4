// cli/commands/server.cpp - reeve server: facts about the server, and API tokens.
#include <ctime>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/parse.h"
#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

struct TokenArguments {
  std::string name{};
  std::string role{};
  int days = 0;
  bool yes = false;
};

Status info(Session& session) {
  Client& client = *TRY(session.client());
  const Format format = TRY(session.format());
  TRY(require_no_list_format(format, "server info"));
  const auto answer =
      TRY(client.call(&v1::ServerService::Stub::GetServerInfo, client.server(), {}));
  if (!is_for_people(format)) return print(render_document(answer, format)), Status();
  print(page_line("version:", answer.version()) + page_line("uid:", answer.uid()) +
        page_line("CA:", answer.ca_fingerprint()) +
        page_line("read-only:", answer.read_only_reason()) +
        page_line("capabilities:",
                  join({answer.capabilities().begin(), answer.capabilities().end()}, ", ")));
  return {};
}

Result<std::vector<v1::ApiToken>> all_tokens(Client& client) {
  v1::ListApiTokensRequest request;
  std::vector<v1::ApiToken> all;
  do {
    const auto page =
        TRY(client.call(&v1::ServerService::Stub::ListApiTokens, client.server(), request));
    all.insert(all.end(), page.tokens().begin(), page.tokens().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Status list_tokens(Session& session) {
  Client& client = *TRY(session.client());
  print(render_list(TRY(all_tokens(client)), token_columns(), TRY(session.format())));
  return {};
}

Status create_token(Session& session, const TokenArguments& arguments) {
  const Format format = TRY(session.format());
  TRY(require_no_list_format(format, "a new token"));
  Client& client = *TRY(session.client());
  v1::CreateApiTokenRequest request;
  std::string role = "ROLE_" + arguments.role;
  for (char& c : role) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  v1::Role value = v1::ROLE_UNSPECIFIED;
  if (!v1::Role_Parse(role, &value))
    return Error{
        Code::InvalidArgument, "USAGE",
        "no role '" + arguments.role + "'; there are administrator, editor, operator and viewer"};
  request.mutable_token()->set_display_name(arguments.name);
  request.mutable_token()->set_role(value);
  if (arguments.days > 0)
    request.mutable_token()->mutable_expire_time()->set_seconds(
        std::time(nullptr) + std::int64_t{arguments.days} * 86400);
  const auto token =
      TRY(client.call(&v1::ServerService::Stub::CreateApiToken, client.server(), request));
  if (is_for_people(format)) {
    note("shown once; keep it safe:");
    print(token.secret() + "\n");
  } else {
    print(render_document(token, format));
  }
  return {};
}

Status delete_token(Session& session, const TokenArguments& arguments) {
  Client& client = *TRY(session.client());
  for (const auto& token : TRY(all_tokens(client))) {
    if (token.display_name() != arguments.name && token.name() != arguments.name) continue;
    TRY(confirm("Revoke token " + printable(token.display_name()) + "?", arguments.yes));
    v1::DeleteApiTokenRequest request;
    request.set_name(token.name());
    TRY(client.call(&v1::ServerService::Stub::DeleteApiToken, client.server(), request));
    note("token " + printable(token.display_name()) + " revoked");
    return {};
  }
  return Error(Code::NotFound, "TOKEN_NOT_FOUND", "no token '" + arguments.name + "'")
      .remedy("list them with: reeve server token list");
}

}  // namespace

void add_server(const Verb& app, Session& session) {
  const auto server = app.add_noun("server", "Facts about the server, and API tokens");
  server.add("info", "Version, identity and capabilities").does(session, [&session] {
    return info(session);
  });
  const auto token = server.add_noun("token", "API tokens");
  auto arguments = std::make_shared<TokenArguments>();
  token.add("list", "List tokens without their secrets").alias("ls").does(session, [&session] {
    return list_tokens(session);
  });
  const auto create_verb = token.add("create", "Make a token");
  create_verb.option("name", arguments->name, "Display name").required().not_empty();
  create_verb.option("--role", arguments->role, "administrator, editor, operator or viewer")
      .required();
  create_verb.option("--days", arguments->days, "How long it works (default: until revoked)")
      .between(1, 36500);
  create_verb.does(session, create_token, arguments);
  const auto delete_verb = token.add("delete", "Revoke a token at once").alias("rm");
  delete_verb.option("name", arguments->name, "Display name or tokens/UID").required();
  delete_verb.flag("-y,--yes", arguments->yes, "Do not ask");
  delete_verb.does(session, delete_token, arguments);
}

}  // namespace reeve::cli
