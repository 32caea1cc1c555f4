// server/api/job_handler.h - shows and steers jobs, over gRPC.
#pragma once

#include "reeve/v1/job_service.grpc.pb.h"
#include "server/api/front_door.h"
#include "server/app/job_service.h"

namespace reeve::server {

class JobHandler final : public v1::JobService::CallbackService {
 public:
  JobHandler(FrontDoor& door, JobService& jobs);
  ~JobHandler() override;

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* WaitJob(grpc::CallbackServerContext* context,
                                    const v1::WaitJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* ResolveJob(grpc::CallbackServerContext* context,
                                       const v1::ResolveJobRequest* request,
                                       v1::Job* response) override;

 private:
  FrontDoor& door_;
  JobService& jobs_;  // outlives the handler
};

}  // namespace reeve::server
