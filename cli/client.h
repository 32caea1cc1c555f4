// cli/client.h - a connection to one server: the stubs, and one way to call them.
//
//   auto vm = TRY(client.call(&v1::VmService::Stub::GetVm, client.vms(), request));
#pragma once

#include <memory>

#include <grpcpp/grpcpp.h>

#include "base/status.h"
#include "cli/contexts.h"
#include "reeve/v1/event_service.grpc.pb.h"
#include "reeve/v1/host_service.grpc.pb.h"
#include "reeve/v1/hypervisor_service.grpc.pb.h"
#include "reeve/v1/image_service.grpc.pb.h"
#include "reeve/v1/job_service.grpc.pb.h"
#include "reeve/v1/server_service.grpc.pb.h"
#include "reeve/v1/vm_service.grpc.pb.h"

namespace reeve::cli {

/// ResourceExhausted/MESSAGE_TOO_LARGE for a request that the server would refuse.
Status check_size(const google::protobuf::Message& request);
/// A failed call as our error, with reason, remedy and numbers from its ErrorDetail.
Error error_of(const grpc::Status& status);

class Client {
 public:
  /// Does not connect yet; the first call does. `debug` prints each call to stderr.
  Client(const Context& context, bool debug);

  v1::VmService::Stub& vms() { return *vms_; }
  v1::HostService::Stub& hosts() { return *hosts_; }
  v1::HypervisorService::Stub& hypervisors() { return *hypervisors_; }
  v1::ImageService::Stub& images() { return *images_; }
  v1::JobService::Stub& jobs() { return *jobs_; }
  v1::EventService::Stub& events() { return *events_; }
  v1::ServerService::Stub& server() { return *server_; }

  /// One unary call with the token and a deadline.
  template <class Stub, class Request, class Response>
  Result<Response> call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                     Response*),
                        Stub& stub, const Request& request) {
    TRY(check_size(request));
    grpc::ClientContext context;
    prepare(context, std::chrono::seconds(60));
    trace(Request::descriptor()->name(), request);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return error_of(status);
    return response;
  }

  /// For streams: the token, and no deadline when `timeout` is zero.
  void prepare(grpc::ClientContext& context, std::chrono::seconds timeout) const;

 private:
  void trace(const std::string& what, const google::protobuf::Message& request) const;

  const std::string token_;
  const bool debug_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::VmService::Stub> vms_;
  std::unique_ptr<v1::HostService::Stub> hosts_;
  std::unique_ptr<v1::HypervisorService::Stub> hypervisors_;
  std::unique_ptr<v1::ImageService::Stub> images_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::EventService::Stub> events_;
  std::unique_ptr<v1::ServerService::Stub> server_;
};

}  // namespace reeve::cli
