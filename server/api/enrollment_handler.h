// server/api/enrollment_handler.h - how agents get certificates, over gRPC; on the API port, since
// a new host has none.
#pragma once

#include "reeve/agent/v1/enrollment_service.grpc.pb.h"
#include "server/api/front_door.h"
#include "server/auth/enrollment.h"

namespace reeve::server {

class EnrollmentHandler final : public agent::v1::EnrollmentService::CallbackService {
 public:
  EnrollmentHandler(FrontDoor& door, Enrollment& enrollment);
  ~EnrollmentHandler() override;

  grpc::ServerUnaryReactor* Enroll(grpc::CallbackServerContext* context,
                                   const agent::v1::EnrollRequest* request,
                                   agent::v1::EnrollResponse* response) override;
  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const agent::v1::RenewRequest* request,
                                  agent::v1::RenewResponse* response) override;

 private:
  FrontDoor& door_;
  Enrollment& enrollment_;  // outlives the handler
};

}  // namespace reeve::server
