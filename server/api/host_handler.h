// server/api/host_handler.h - verbs on hosts, over gRPC.
#pragma once

#include "reeve/v1/host_service.grpc.pb.h"
#include "server/api/front_door.h"
#include "server/app/host_service.h"
#include "server/auth/enrollment.h"

namespace reeve::server {

class HostHandler final : public v1::HostService::CallbackService {
 public:
  HostHandler(FrontDoor& door, HostService& hosts, Enrollment& enrollment);
  ~HostHandler() override;

  grpc::ServerUnaryReactor* GetHost(grpc::CallbackServerContext* context,
                                    const v1::GetHostRequest* request, v1::Host* response) override;
  grpc::ServerUnaryReactor* ListHosts(grpc::CallbackServerContext* context,
                                      const v1::ListHostsRequest* request,
                                      v1::ListHostsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateHost(grpc::CallbackServerContext* context,
                                       const v1::UpdateHostRequest* request,
                                       v1::Host* response) override;
  grpc::ServerUnaryReactor* DeleteHost(grpc::CallbackServerContext* context,
                                       const v1::DeleteHostRequest* request,
                                       v1::DeleteHostResponse* response) override;
  grpc::ServerUnaryReactor* CreateEnrollToken(grpc::CallbackServerContext* context,
                                              const v1::CreateEnrollTokenRequest* request,
                                              v1::EnrollToken* response) override;

 private:
  FrontDoor& door_;
  HostService& hosts_;      // outlives the handler
  Enrollment& enrollment_;  // outlives the handler
};

}  // namespace reeve::server
