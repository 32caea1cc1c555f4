#include "cli/client.h"

#include <cstdio>

#include "cli/option_names.h"
#include "reeve/v1/error_detail.pb.h"

namespace reeve::cli {

Status check_size(const google::protobuf::Message& request) {
  constexpr std::size_t kMostBytes = 4u << 20;  // the API's own limit
  const auto size = request.ByteSizeLong();
  if (size <= kMostBytes) return {};
  return Error(Code::ResourceExhausted, "MESSAGE_TOO_LARGE",
               "the request has " + std::to_string(size) + " bytes, the server takes at most " +
                   std::to_string(kMostBytes))
      .with("size_bytes", std::to_string(size))
      .with("limit_bytes", std::to_string(kMostBytes))
      .remedy("give less text: labels, description, cloud-init data");
}

Error error_of(const grpc::Status& status) {
  v1::ErrorDetail detail;
  const bool known = !status.error_details().empty() &&
                     detail.ParseFromString(status.error_details()) && !detail.reason().empty();
  const auto code = static_cast<Code>(status.error_code());
  if (!known) {
    const bool unreachable = status.error_code() == grpc::StatusCode::UNAVAILABLE;
    return Error::from_wire(code, unreachable ? "SERVER_UNREACHABLE" : "UNKNOWN",
                            status.error_message())
        .remedy(unreachable ? "check that reeve-server runs and that the address is right" : "");
  }
  Error error = Error::from_wire(code, detail.reason(), in_options(status.error_message()))
                    .remedy(in_options(detail.remedy()))
                    .resource(detail.resource());
  for (const auto& [key, value] : detail.metadata()) error = std::move(error).with(key, value);
  for (const auto& violation : detail.field_violations())
    error = std::move(error).with(violation.field(), violation.description());
  return error;
}

Client::Client(const Context& context, bool debug) : token_(context.token), debug_(debug) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = context.ca_pem;
  grpc::ChannelArguments arguments;
  // The CA is this server's alone and pinned, so the certificate is checked by key, not by address.
  arguments.SetSslTargetNameOverride("reeve-server");
  arguments.SetMaxReceiveMessageSize(64 << 20);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  // A server that comes back is found soon: a person waits, and there are few of us.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  channel_ = grpc::CreateCustomChannel(context.server, grpc::SslCredentials(options), arguments);
  vms_ = v1::VmService::NewStub(channel_);
  hosts_ = v1::HostService::NewStub(channel_);
  hypervisors_ = v1::HypervisorService::NewStub(channel_);
  images_ = v1::ImageService::NewStub(channel_);
  jobs_ = v1::JobService::NewStub(channel_);
  events_ = v1::EventService::NewStub(channel_);
  server_ = v1::ServerService::NewStub(channel_);
}

void Client::prepare(grpc::ClientContext& context, std::chrono::seconds timeout) const {
  context.AddMetadata("authorization", "Bearer " + token_);
  if (timeout.count() > 0) context.set_deadline(std::chrono::system_clock::now() + timeout);
}

void Client::trace(const std::string& what, const google::protobuf::Message& request) const {
  // Values may be secrets (cloud-init): sizes only.
  if (debug_) std::fprintf(stderr, "> %s (%zu bytes)\n", what.c_str(), request.ByteSizeLong());
}

}  // namespace reeve::cli
