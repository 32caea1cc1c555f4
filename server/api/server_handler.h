// server/api/server_handler.h - facts about the server and its API tokens, over gRPC.
#pragma once

#include "reeve/v1/server_service.grpc.pb.h"
#include "server/api/front_door.h"

namespace reeve::server {

class ServerHandler final : public v1::ServerService::CallbackService {
 public:
  /// `info` is answered as it is, with read_only_reason from `read_only_reason()`. All outlive the
  /// handler.
  ServerHandler(FrontDoor& door, ApiTokens& tokens, v1::ServerInfo info,
                std::function<std::string()> read_only_reason);
  ~ServerHandler() override;

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::ServerInfo* response) override;
  grpc::ServerUnaryReactor* GetSelf(grpc::CallbackServerContext* context,
                                    const v1::GetSelfRequest* request, v1::Self* response) override;
  grpc::ServerUnaryReactor* CreateApiToken(grpc::CallbackServerContext* context,
                                           const v1::CreateApiTokenRequest* request,
                                           v1::ApiToken* response) override;
  grpc::ServerUnaryReactor* ListApiTokens(grpc::CallbackServerContext* context,
                                          const v1::ListApiTokensRequest* request,
                                          v1::ListApiTokensResponse* response) override;
  grpc::ServerUnaryReactor* DeleteApiToken(grpc::CallbackServerContext* context,
                                           const v1::DeleteApiTokenRequest* request,
                                           v1::DeleteApiTokenResponse* response) override;

 private:
  FrontDoor& door_;
  ApiTokens& tokens_;
  const v1::ServerInfo info_;
  const std::function<std::string()> read_only_reason_;
};

}  // namespace reeve::server
