#include "server/api/hypervisor_handler.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
HypervisorHandler::HypervisorHandler(FrontDoor& door, HypervisorService& hypervisors)
    : door_(door), hypervisors_(hypervisors) {}

HypervisorHandler::~HypervisorHandler() = default;

grpc::ServerUnaryReactor* HypervisorHandler::GetHypervisor(grpc::CallbackServerContext* context,
                                                           const v1::GetHypervisorRequest* request,
                                                           v1::Hypervisor* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return hypervisors_.get(caller, *request); });
}

grpc::ServerUnaryReactor* HypervisorHandler::ListHypervisors(
    grpc::CallbackServerContext* context, const v1::ListHypervisorsRequest* request,
    v1::ListHypervisorsResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return hypervisors_.list(caller, *request); });
}

}  // namespace reeve::server
