#include "server/api/enrollment_handler.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
EnrollmentHandler::EnrollmentHandler(FrontDoor& door, Enrollment& enrollment)
    : door_(door), enrollment_(enrollment) {}

EnrollmentHandler::~EnrollmentHandler() = default;

grpc::ServerUnaryReactor* EnrollmentHandler::Enroll(grpc::CallbackServerContext* context,
                                                    const agent::v1::EnrollRequest* request,
                                                    agent::v1::EnrollResponse* response) {
  return door_.enter<AuditedBy::Service>(
      context, request, response,
      [&](const Caller& caller, Reply<agent::v1::EnrollResponse> reply) {
        enrollment_.enroll(caller, *request, std::move(reply));
      });
}

grpc::ServerUnaryReactor* EnrollmentHandler::Renew(grpc::CallbackServerContext* context,
                                                   const agent::v1::RenewRequest* request,
                                                   agent::v1::RenewResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller, Reply<agent::v1::RenewResponse> reply) {
                       enrollment_.renew(caller, *request, std::move(reply));
                     });
}

}  // namespace reeve::server
