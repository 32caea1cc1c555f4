// server/app/job_service.h - shows jobs and lets people steer them, without gRPC.
//
// Any thread; see vm_service.h.
#pragma once

#include "reeve/v1/job_service.pb.h"
#include "server/app/caller.h"

namespace reeve::server {

class JobService {
 public:
  virtual ~JobService() = default;

  virtual Result<v1::Job> get(const Caller& caller, const v1::GetJobRequest& request) = 0;
  virtual Result<v1::ListJobsResponse> list(const Caller& caller,
                                            const v1::ListJobsRequest& request) = 0;
  /// Replies when the job has ended or is parked, or when the timeout has passed.
  virtual void wait(const Caller& caller, const v1::WaitJobRequest& request,
                    Reply<v1::Job> reply) = 0;
  virtual void cancel(const Caller& caller, const v1::CancelJobRequest& request,
                      Reply<v1::Job> reply) = 0;
  virtual void resolve(const Caller& caller, const v1::ResolveJobRequest& request,
                       Reply<v1::Job> reply) = 0;
};

}  // namespace reeve::server
