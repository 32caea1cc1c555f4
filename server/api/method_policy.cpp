#include "server/api/method_policy.h"

#include "base/check.h"
#include "reeve/agent/v1/enrollment_service.pb.h"
#include "reeve/v1/event_service.pb.h"
#include "reeve/v1/host_service.pb.h"
#include "reeve/v1/hypervisor_service.pb.h"
#include "reeve/v1/image_service.pb.h"
#include "reeve/v1/job_service.pb.h"
#include "reeve/v1/server_service.pb.h"
#include "reeve/v1/vm_service.pb.h"

namespace reeve::server {

Result<MethodPolicies> MethodPolicies::read(
    const std::vector<const google::protobuf::ServiceDescriptor*>& services) {
  MethodPolicies out;
  for (const auto* service : services) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* method = service->method(i);
      const auto& option = method->options().GetExtension(v1::authorization);
      MethodPolicy policy{.method = service->name() + "/" + method->name(),
                          .permission = option.permission(),
                          .mutates = option.mutates()};
      if (policy.permission == v1::PERMISSION_UNSPECIFIED) {
        return Error{Code::Internal, "METHOD_WITHOUT_POLICY",
                     policy.method + " has no authorization option"};
      }
      if (!out.by_request_.emplace(method->input_type(), policy).second) {
        return Error{Code::Internal, "METHOD_WITHOUT_POLICY",
                     policy.method + " shares its request type with another method"};
      }
    }
  }
  return out;
}

const MethodPolicy& MethodPolicies::of(const google::protobuf::Descriptor* request) const {
  const auto it = by_request_.find(request);
  REEVE_CHECK(it != by_request_.end());
  return it->second;
}

std::vector<const google::protobuf::ServiceDescriptor*> api_services() {
  return {v1::GetVmRequest::descriptor()->file()->service(0),
          v1::GetHostRequest::descriptor()->file()->service(0),
          v1::GetHypervisorRequest::descriptor()->file()->service(0),
          v1::GetImageRequest::descriptor()->file()->service(0),
          v1::GetJobRequest::descriptor()->file()->service(0),
          v1::WatchRequest::descriptor()->file()->service(0),
          v1::GetSelfRequest::descriptor()->file()->service(0),
          agent::v1::EnrollRequest::descriptor()->file()->service(0)};
}

}  // namespace reeve::server
