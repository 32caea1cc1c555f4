#include "server/api/vm_handler.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
VmHandler::VmHandler(FrontDoor& door, VmService& vms, ConsoleHub& consoles)
    : door_(door), vms_(vms), consoles_(consoles) {
  SetMessageAllocatorFor_ListVms(&list_messages_);
}

VmHandler::~VmHandler() = default;

grpc::ServerUnaryReactor* VmHandler::GetVm(grpc::CallbackServerContext* context,
                                           const v1::GetVmRequest* request,
                                           v1::VirtualMachine* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return vms_.get(caller, *request); });
}

grpc::ServerUnaryReactor* VmHandler::ListVms(grpc::CallbackServerContext* context,
                                             const v1::ListVmsRequest* request,
                                             v1::ListVmsResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller, v1::ListVmsResponse& page) {
                       return vms_.list(caller, *request, page);
                     });
}

grpc::ServerUnaryReactor* VmHandler::CreateVm(grpc::CallbackServerContext* context,
                                              const v1::CreateVmRequest* request,
                                              v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.create(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::UpdateVm(grpc::CallbackServerContext* context,
                                              const v1::UpdateVmRequest* request,
                                              v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.update(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::DeleteVm(grpc::CallbackServerContext* context,
                                              const v1::DeleteVmRequest* request,
                                              v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.remove(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::StartVm(grpc::CallbackServerContext* context,
                                             const v1::StartVmRequest* request, v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.start(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::StopVm(grpc::CallbackServerContext* context,
                                            const v1::StopVmRequest* request, v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.stop(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::RebootVm(grpc::CallbackServerContext* context,
                                              const v1::RebootVmRequest* request,
                                              v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.reboot(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::PauseVm(grpc::CallbackServerContext* context,
                                             const v1::PauseVmRequest* request, v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.pause(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::ResumeVm(grpc::CallbackServerContext* context,
                                              const v1::ResumeVmRequest* request,
                                              v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.resume(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::SaveVm(grpc::CallbackServerContext* context,
                                            const v1::SaveVmRequest* request, v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.save(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* VmHandler::RestoreVm(grpc::CallbackServerContext* context,
                                               const v1::RestoreVmRequest* request,
                                               v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           vms_.restore(caller, *request, std::move(reply));
                                         });
}

ConsoleReactor* VmHandler::AttachConsole(grpc::CallbackServerContext* context) {
  return door_.enter_stream<ConsoleReactor, v1::AttachConsoleRequest>(
      context, [&](std::unique_ptr<Admission> admission) {
        return ConsoleStream::create(std::move(admission), vms_, consoles_);
      });
}

}  // namespace reeve::server
