#include "agent/link/grpc_enrollment.h"

#include <charconv>
#include <chrono>
#include <thread>

#include "agent/link/grpc_error.h"
#include "base/crypto/enroll_token.h"
#include "base/crypto/peer_chain.h"
#include "base/crypto/sha256.h"
#include "base/crypto/x509.h"
#include "base/uuid.h"
#include "reeve/agent/v1/enrollment_service.grpc.pb.h"

namespace reeve::agent {
namespace {

constexpr std::chrono::seconds kDeadline{30};

struct Address {
  std::string host{};
  std::uint16_t port = 0;
};

/// "host:port" or "[v6]:port".
Result<Address> parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  Address out;
  if (colon != std::string::npos && colon > 0) {
    out.host = text.substr(0, colon);
    if (out.host.starts_with('[') && out.host.ends_with(']'))
      out.host = out.host.substr(1, out.host.size() - 2);
    const char* end = text.data() + text.size();
    const auto [last, error] = std::from_chars(text.data() + colon + 1, end, out.port);
    if (error == std::errc{} && last == end && out.port != 0 && !out.host.empty()) return out;
  }
  return Error{Code::InvalidArgument, "BAD_ADDRESS", "'" + text + "' is not host:port"};
}

template <class Request, class Response>
Result<Response> call(v1::EnrollmentService::Stub& stub,
                      grpc::Status (v1::EnrollmentService::Stub::*method)(grpc::ClientContext*,
                                                                          const Request&,
                                                                          Response*),
                      const Request& request, const std::string& attempt) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return error_of(status, attempt);
  return response;
}

/// Enrols; asks again when the answer was lost. The key is the same, so a token that the first call
/// has spent admits this host again.
Result<v1::EnrollResponse> enroll_at(v1::EnrollmentService::Stub& stub,
                                     const v1::EnrollRequest& request) {
  constexpr int kTries = 3;
  for (int attempt = 1;; ++attempt) {
    auto response = call(stub, &v1::EnrollmentService::Stub::Enroll, request, "enrolling");
    if (response.ok() || attempt == kTries) return response;
    const auto code = response.error().code();
    if (code != Code::Unavailable && code != Code::DeadlineExceeded) return response;
    std::this_thread::sleep_for(std::chrono::seconds(attempt));
  }
}

/// "host:port" of the agent port; the server leaves the host out when it is that of the API.
Result<std::string> full_link_address(const std::string& link, const std::string& api) {
  if (!link.starts_with(':')) {
    TRY(parse_address(link));
    return link;
  }
  const std::string full = api.substr(0, api.rfind(':')) + link;
  TRY(parse_address(full));
  return full;
}

}  // namespace

Result<v1::Identity> enroll(const IdentityFiles& files, const EnrollOptions& options) {
  const auto token = TRY(crypto::parse_enroll_token(options.token));
  const Address address = TRY(parse_address(options.server));
  if (files.is_enrolled())
    return Error(Code::AlreadyExists, "ALREADY_ENROLLED", "this host is enrolled already")
        .remedy(
            "to enrol it anew, stop the agent and remove the folder 'identity' below its data "
            "folder");
  const auto chain = TRY(crypto::fetch_peer_chain(address.host, address.port, kDeadline));
  if (!crypto::constant_time_equal(chain.ca_fingerprint, token.ca_fingerprint))
    return Error(Code::Unauthenticated, "SERVER_NOT_TRUSTED",
                 "'" + options.server + "' is not the server this token is for")
        .remedy("check the address; if the server was set up anew, make a new token");
  const std::string key = TRY(files.key());
  v1::EnrollRequest request;
  request.set_token(options.token);
  request.set_csr_pem(TRY(crypto::make_csr_pem(key, options.hostname.substr(0, 64))));
  request.set_hostname(options.hostname);
  const auto channel = open_channel(options.server, {.ca_pem = chain.ca_pem});
  const auto stub = v1::EnrollmentService::NewStub(channel);
  const auto response = TRY(enroll_at(*stub, request));
  if (!is_uuid(response.host_uid()))
    return Error{Code::Internal, "SERVER_ERROR", "the server gave this host no uid"};
  v1::Identity identity;
  identity.set_host_uid(response.host_uid());
  identity.set_api_address(options.server);
  identity.set_link_address(TRY(full_link_address(response.link_address(), options.server)));
  // Trust stays with the CA the token named, whatever the answer says.
  TRY(files.keep(identity, response.certificate_pem(), chain.ca_pem));
  return identity;
}

Status renew(const IdentityFiles& files) {
  const v1::Identity identity = TRY(files.identity());
  const Credentials credentials = TRY(files.credentials());
  v1::RenewRequest request;
  request.set_csr_pem(TRY(crypto::make_csr_pem(credentials.key_pem, identity.host_uid())));
  const auto channel = open_channel(identity.api_address(), {.ca_pem = credentials.ca_pem});
  const auto stub = v1::EnrollmentService::NewStub(channel);
  const auto response = TRY(call(*stub, &v1::EnrollmentService::Stub::Renew, request, "renewing"));
  return files.keep_certificate(response.certificate_pem(), credentials.ca_pem);
}

}  // namespace reeve::agent
