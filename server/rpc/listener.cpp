#include "server/rpc/listener.h"

#include <chrono>

#include <grpc/grpc.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server_builder.h>

namespace reeve::server {
namespace {

constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kMaxStreamsPerConnection = 256;
constexpr unsigned kReloadSeconds = 10;

std::shared_ptr<grpc::ServerCredentials> credentials_of(const ListenerOptions& options) {
  using grpc::experimental::FileWatcherCertificateProvider;
  const bool mutual = options.clients == ClientCertificate::Required;
  const auto provider = std::make_shared<FileWatcherCertificateProvider>(
      options.key.string(), options.chain.string(), mutual ? options.ca.string() : std::string(),
      kReloadSeconds);
  grpc::experimental::TlsServerCredentialsOptions tls(provider);
  tls.watch_identity_key_cert_pairs();
  if (mutual) tls.watch_root_certs();
  tls.set_cert_request_type(mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return grpc::experimental::TlsServerCredentials(tls);
}

void set_limits(grpc::ServerBuilder& builder, const ListenerOptions& options) {
  constexpr auto kMillis = [](auto duration) {
    return static_cast<int>(std::chrono::milliseconds(duration).count());
  };
  using std::chrono::hours;
  using std::chrono::minutes;
  using std::chrono::seconds;
  builder.SetMaxReceiveMessageSize(options.message_bytes);
  // A compressed message is a bomb until it is unpacked; nobody needs to send one.
  for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP})
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kMillis(seconds(10)));
  // A peer that has vanished is noticed; one that pings too often is cut off.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kMillis(seconds(30)));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kMillis(seconds(15)));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMillis(seconds(5)));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 3);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (options.clients == ClientCertificate::NotAsked) {
    // Calls that are under way at that age (a long upload, a watch) get half a day more.
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMillis(hours(4)));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kMillis(hours(12)));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kMillis(minutes(30)));
  }
  grpc::ResourceQuota quota;
  quota.Resize(options.memory_bytes);
  builder.SetResourceQuota(quota);
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::create(const ListenerOptions& options,
                                                   const std::vector<grpc::Service*>& services) {
  std::unique_ptr<Listener> listener(new Listener());
  grpc::EnableDefaultHealthCheckService(options.clients == ClientCertificate::NotAsked);
  grpc::ServerBuilder builder;
  set_limits(builder, options);
  builder.AddListeningPort(options.address, credentials_of(options), &listener->port_);
  for (auto* service : services) builder.RegisterService(service);
  listener->server_ = builder.BuildAndStart();
  if (listener->server_ == nullptr || listener->port_ == 0) {
    return Error{Code::Unavailable, "LISTEN_FAILED", "cannot listen on " + options.address}.remedy(
        "Is the address this machine's, and is no other program using the port?");
  }
  return listener;
}

Listener::~Listener() {
  stop();
}

void Listener::stop() {
  if (server_ == nullptr) return;
  // Open calls have been ended by their owners; what a dead peer still holds is cancelled.
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  server_->Wait();
  server_.reset();
}

}  // namespace reeve::server
