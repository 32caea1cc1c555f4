#include "agent/link/grpc_error.h"

#include "base/crypto/authority.h"
#include "reeve/agent/v1/enrollment_service.grpc.pb.h"
#include "reeve/v1/error_detail.pb.h"

namespace reeve::agent {

namespace {

constexpr int kMaxMessage = 16 << 20;

}  // namespace

Error error_of(const grpc::Status& status, const std::string& attempt) {
  constexpr int kLastCode = 16;
  const int number = status.error_code();
  const Code code = number >= 1 && number <= kLastCode ? static_cast<Code>(number) : Code::Unknown;
  reeve::v1::ErrorDetail detail;
  std::string reason = code == Code::Unavailable ? "SERVER_UNREACHABLE" : "SERVER_ERROR";
  if (!status.error_details().empty() && detail.ParseFromString(status.error_details()) &&
      !detail.reason().empty())
    reason = detail.reason();
  return Error::from_wire(code, reason, status.error_message().substr(0, 1000))
      .during(attempt)
      .remedy(detail.remedy());
}

std::shared_ptr<grpc::Channel> open_channel(const std::string& address,
                                            const Credentials& credentials) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = credentials.ca_pem;
  if (!credentials.certificate_pem.empty()) {
    options.pem_private_key = credentials.key_pem;
    options.pem_cert_chain = credentials.certificate_pem;
  }
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(std::string(crypto::kServerName));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

void keep_callback_threads() {
  struct Keeper {
    std::shared_ptr<grpc::Channel> channel =
        grpc::CreateChannel("unix:/nonexistent/reeve", grpc::InsecureChannelCredentials());
    std::unique_ptr<v1::EnrollmentService::Stub> stub = v1::EnrollmentService::NewStub(channel);
    grpc::ClientContext context{};
    v1::RenewRequest request{};
    v1::RenewResponse response{};
    // A channel takes its part in the threads with its first call; this one fails at once.
    Keeper() {
      stub->async()->Renew(&context, &request, &response, [](const grpc::Status&) {});
    }
  };
  [[maybe_unused]] static Keeper* const keeper = new Keeper;
}

}  // namespace reeve::agent
