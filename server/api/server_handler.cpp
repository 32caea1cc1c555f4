#include "server/api/server_handler.h"

#include "server/auth/roles.h"

namespace reeve::server {
namespace {

v1::Self self_of(const Caller& caller) {
  v1::Self self;
  self.set_actor(caller.actor);
  for (int number = v1::Role_MIN; number <= v1::Role_MAX; ++number)
    if (const auto role = static_cast<v1::Role>(number);
        role != v1::ROLE_UNSPECIFIED && permissions_of(role) == caller.permissions)
      self.set_role(role);
  for (int number = v1::PERMISSION_PUBLIC; number <= v1::Permission_MAX; ++number)
    if (const auto permission = static_cast<v1::Permission>(number);
        caller.permissions.has(permission))
      self.add_permissions(permission);
  return self;
}

}  // namespace

// Here, so that no other file instantiates the service's methods.
ServerHandler::ServerHandler(FrontDoor& door, ApiTokens& tokens, v1::ServerInfo info,
                             std::function<std::string()> read_only_reason)
    : door_(door),
      tokens_(tokens),
      info_(std::move(info)),
      read_only_reason_(std::move(read_only_reason)) {}

ServerHandler::~ServerHandler() = default;

grpc::ServerUnaryReactor* ServerHandler::GetServerInfo(grpc::CallbackServerContext* context,
                                                       const v1::GetServerInfoRequest* request,
                                                       v1::ServerInfo* response) {
  return door_.enter(context, request, response, [&](const Caller&) -> Result<v1::ServerInfo> {
    auto info = info_;
    info.set_read_only_reason(read_only_reason_());
    return info;
  });
}

grpc::ServerUnaryReactor* ServerHandler::GetSelf(grpc::CallbackServerContext* context,
                                                 const v1::GetSelfRequest* request,
                                                 v1::Self* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) -> Result<v1::Self> { return self_of(caller); });
}

grpc::ServerUnaryReactor* ServerHandler::CreateApiToken(grpc::CallbackServerContext* context,
                                                        const v1::CreateApiTokenRequest* request,
                                                        v1::ApiToken* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::ApiToken> reply) {
                                           tokens_.create_token(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* ServerHandler::ListApiTokens(grpc::CallbackServerContext* context,
                                                       const v1::ListApiTokensRequest* request,
                                                       v1::ListApiTokensResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller&) { return tokens_.list(*request); });
}

grpc::ServerUnaryReactor* ServerHandler::DeleteApiToken(grpc::CallbackServerContext* context,
                                                        const v1::DeleteApiTokenRequest* request,
                                                        v1::DeleteApiTokenResponse* response) {
  return door_.enter<AuditedBy::Service>(
      context, request, response,
      [&](const Caller& caller, Reply<v1::DeleteApiTokenResponse> reply) {
        tokens_.revoke(caller, *request, std::move(reply));
      });
}

}  // namespace reeve::server
