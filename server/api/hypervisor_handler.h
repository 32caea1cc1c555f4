// server/api/hypervisor_handler.h - verbs on hypervisors, over gRPC.
#pragma once

#include "reeve/v1/hypervisor_service.grpc.pb.h"
#include "server/api/front_door.h"
#include "server/app/hypervisor_service.h"

namespace reeve::server {

class HypervisorHandler final : public v1::HypervisorService::CallbackService {
 public:
  HypervisorHandler(FrontDoor& door, HypervisorService& hypervisors);
  ~HypervisorHandler() override;

  grpc::ServerUnaryReactor* GetHypervisor(grpc::CallbackServerContext* context,
                                          const v1::GetHypervisorRequest* request,
                                          v1::Hypervisor* response) override;
  grpc::ServerUnaryReactor* ListHypervisors(grpc::CallbackServerContext* context,
                                            const v1::ListHypervisorsRequest* request,
                                            v1::ListHypervisorsResponse* response) override;

 private:
  FrontDoor& door_;
  HypervisorService& hypervisors_;  // outlives the handler
};

}  // namespace reeve::server
