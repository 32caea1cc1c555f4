// server/app/hypervisor_service.h - verbs on hypervisors, without gRPC.
//
// Any thread; see vm_service.h.
#pragma once

#include "reeve/v1/hypervisor_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

class HypervisorService {
 public:
  virtual ~HypervisorService() = default;

  virtual Result<v1::Hypervisor> get(const Caller& caller,
                                     const v1::GetHypervisorRequest& request) = 0;
  virtual Result<v1::ListHypervisorsResponse> list(const Caller& caller,
                                                   const v1::ListHypervisorsRequest& request) = 0;
};

}  // namespace reeve::server
