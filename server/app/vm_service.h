// server/app/vm_service.h - verbs on machines, without gRPC.
//
// Any thread. Reads run on the calling thread on a database snapshot. Changes are compiled and
// stored by the database writer; the reply comes after the commit. Error code/reason pairs:
// vm_service.proto.
#pragma once

#include "reeve/v1/vm_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

class VmService {
 public:
  virtual ~VmService() = default;

  virtual Result<v1::VirtualMachine> get(const Caller& caller, const v1::GetVmRequest& request) = 0;
  /// Fills `response`, which is empty and may be on an arena.
  virtual Status list(const Caller& caller, const v1::ListVmsRequest& request,
                      v1::ListVmsResponse& response) = 0;

  virtual void create(const Caller& caller, const v1::CreateVmRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void update(const Caller& caller, const v1::UpdateVmRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void remove(const Caller& caller, const v1::DeleteVmRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void start(const Caller& caller, const v1::StartVmRequest& request,
                     Reply<v1::Job> reply) = 0;
  virtual void stop(const Caller& caller, const v1::StopVmRequest& request,
                    Reply<v1::Job> reply) = 0;
  virtual void reboot(const Caller& caller, const v1::RebootVmRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void pause(const Caller& caller, const v1::PauseVmRequest& request,
                     Reply<v1::Job> reply) = 0;
  virtual void resume(const Caller& caller, const v1::ResumeVmRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void save(const Caller& caller, const v1::SaveVmRequest& request,
                    Reply<v1::Job> reply) = 0;
  virtual void restore(const Caller& caller, const v1::RestoreVmRequest& request,
                       Reply<v1::Job> reply) = 0;

  /// Where the console of a machine is: for AttachConsole, which relays through the link.
  struct ConsolePlace {
    std::string vm_uid{};
    std::string host_uid{};
  };
  /// NotFound/VM_NOT_FOUND, Unavailable/HOST_UNREACHABLE.
  virtual Result<ConsolePlace> console_place(const std::string& vm_name) = 0;
};

}  // namespace reeve::server
