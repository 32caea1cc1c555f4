#include "server/api/host_handler.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
HostHandler::HostHandler(FrontDoor& door, HostService& hosts, Enrollment& enrollment)
    : door_(door), hosts_(hosts), enrollment_(enrollment) {}

HostHandler::~HostHandler() = default;

grpc::ServerUnaryReactor* HostHandler::GetHost(grpc::CallbackServerContext* context,
                                               const v1::GetHostRequest* request,
                                               v1::Host* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return hosts_.get(caller, *request); });
}

grpc::ServerUnaryReactor* HostHandler::ListHosts(grpc::CallbackServerContext* context,
                                                 const v1::ListHostsRequest* request,
                                                 v1::ListHostsResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return hosts_.list(caller, *request); });
}

grpc::ServerUnaryReactor* HostHandler::UpdateHost(grpc::CallbackServerContext* context,
                                                  const v1::UpdateHostRequest* request,
                                                  v1::Host* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Host> reply) {
                                           hosts_.update(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* HostHandler::DeleteHost(grpc::CallbackServerContext* context,
                                                  const v1::DeleteHostRequest* request,
                                                  v1::DeleteHostResponse* response) {
  return door_.enter<AuditedBy::Service>(
      context, request, response, [&](const Caller& caller, Reply<v1::DeleteHostResponse> reply) {
        hosts_.remove(caller, *request, std::move(reply));
      });
}

grpc::ServerUnaryReactor* HostHandler::CreateEnrollToken(
    grpc::CallbackServerContext* context, const v1::CreateEnrollTokenRequest* request,
    v1::EnrollToken* response) {
  return door_.enter<AuditedBy::Service>(
      context, request, response, [&](const Caller& caller, Reply<v1::EnrollToken> reply) {
        enrollment_.create_token(caller, *request, std::move(reply));
      });
}

}  // namespace reeve::server
