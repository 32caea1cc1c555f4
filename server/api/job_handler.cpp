#include "server/api/job_handler.h"

namespace reeve::server {

// Here, so that no other file instantiates the service's methods.
JobHandler::JobHandler(FrontDoor& door, JobService& jobs) : door_(door), jobs_(jobs) {}

JobHandler::~JobHandler() = default;

grpc::ServerUnaryReactor* JobHandler::GetJob(grpc::CallbackServerContext* context,
                                             const v1::GetJobRequest* request, v1::Job* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return jobs_.get(caller, *request); });
}

grpc::ServerUnaryReactor* JobHandler::ListJobs(grpc::CallbackServerContext* context,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return door_.enter(context, request, response,
                     [&](const Caller& caller) { return jobs_.list(caller, *request); });
}

grpc::ServerUnaryReactor* JobHandler::WaitJob(grpc::CallbackServerContext* context,
                                              const v1::WaitJobRequest* request,
                                              v1::Job* response) {
  return door_.enter(context, request, response, [&](const Caller& caller, Reply<v1::Job> reply) {
    jobs_.wait(caller, *request, std::move(reply));
  });
}

grpc::ServerUnaryReactor* JobHandler::CancelJob(grpc::CallbackServerContext* context,
                                                const v1::CancelJobRequest* request,
                                                v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           jobs_.cancel(caller, *request, std::move(reply));
                                         });
}

grpc::ServerUnaryReactor* JobHandler::ResolveJob(grpc::CallbackServerContext* context,
                                                 const v1::ResolveJobRequest* request,
                                                 v1::Job* response) {
  return door_.enter<AuditedBy::Service>(context, request, response,
                                         [&](const Caller& caller, Reply<v1::Job> reply) {
                                           jobs_.resolve(caller, *request, std::move(reply));
                                         });
}

}  // namespace reeve::server
