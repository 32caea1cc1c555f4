// server/api/vm_handler.h - verbs on machines, over gRPC.
#pragma once

#include "reeve/v1/vm_service.grpc.pb.h"
#include "server/api/console_stream.h"
#include "server/api/front_door.h"
#include "server/app/vm_service.h"
#include "server/rpc/arena_messages.h"

namespace reeve::server {

class VmHandler final : public v1::VmService::CallbackService {
 public:
  VmHandler(FrontDoor& door, VmService& vms, ConsoleHub& consoles);
  ~VmHandler() override;

  grpc::ServerUnaryReactor* GetVm(grpc::CallbackServerContext* context,
                                  const v1::GetVmRequest* request,
                                  v1::VirtualMachine* response) override;
  grpc::ServerUnaryReactor* ListVms(grpc::CallbackServerContext* context,
                                    const v1::ListVmsRequest* request,
                                    v1::ListVmsResponse* response) override;
  grpc::ServerUnaryReactor* CreateVm(grpc::CallbackServerContext* context,
                                     const v1::CreateVmRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* UpdateVm(grpc::CallbackServerContext* context,
                                     const v1::UpdateVmRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* DeleteVm(grpc::CallbackServerContext* context,
                                     const v1::DeleteVmRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* StartVm(grpc::CallbackServerContext* context,
                                    const v1::StartVmRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* StopVm(grpc::CallbackServerContext* context,
                                   const v1::StopVmRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* RebootVm(grpc::CallbackServerContext* context,
                                     const v1::RebootVmRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseVm(grpc::CallbackServerContext* context,
                                    const v1::PauseVmRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeVm(grpc::CallbackServerContext* context,
                                     const v1::ResumeVmRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* SaveVm(grpc::CallbackServerContext* context,
                                   const v1::SaveVmRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* RestoreVm(grpc::CallbackServerContext* context,
                                      const v1::RestoreVmRequest* request,
                                      v1::Job* response) override;
  ConsoleReactor* AttachConsole(grpc::CallbackServerContext* context) override;

 private:
  FrontDoor& door_;
  VmService& vms_;        // outlives the handler
  ConsoleHub& consoles_;  // outlives the handler
  ArenaMessages<v1::ListVmsRequest, v1::ListVmsResponse> list_messages_;
};

}  // namespace reeve::server
