#include "server/link/link_handler.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/server_context.h>

#include "base/crypto/x509.h"
#include "base/log.h"
#include "db/repo/host_repo.h"
#include "server/rpc/status_to_grpc.h"

namespace reeve::server {
namespace {

/// A stream that was turned away.
template <class Reactor>
class Refused final : public Reactor {
 public:
  explicit Refused(const Error& error) { this->Finish(to_grpc(error)); }
  void OnDone() override { delete this; }
};

Error stopping() {
  return {Code::Unavailable, "SERVER_STOPPING", "the server is stopping"};
}

}  // namespace

// Here, so that no other file instantiates the service's methods.
LinkHandler::LinkHandler(const Parts& parts) : parts_(parts) {}

LinkHandler::~LinkHandler() = default;

Result<std::string> LinkHandler::host_of(const grpc::CallbackServerContext& context) const {
  const Error unknown = Error{Code::PermissionDenied, "HOST_KEY_UNKNOWN",
                              "no enrolled host has this certificate's key"}
                            .remedy("If the host was removed, enrol it again.");
  const auto pem = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (pem.size() != 1) return unknown;
  const auto facts =
      TRY(crypto::parse_certificate(std::string_view(pem.front().data(), pem.front().size())));
  const auto host = parts_.readers->read(
      [&](db::ReadTransaction& tx) { return db::HostReader(tx).get_by_key(facts.key_sha256); });
  if (host.ok()) return host.value().uid;
  if (host.error().code() != Code::NotFound) return host.error();
  log::guest_warning("unknown host refused",
                     {{"peer", context.peer()}, {"claims", facts.common_name}});
  return unknown;
}

void LinkHandler::remember(std::function<bool(bool)> entry) {
  Lock lock(mutex_);
  if (open_.size() >= sweep_at_) {
    std::erase_if(open_, [](const auto& alive) { return !alive(false); });
    sweep_at_ = std::max<std::size_t>(64, open_.size() * 2);
  }
  open_.push_back(std::move(entry));
}

ConnectReactor* LinkHandler::Connect(grpc::CallbackServerContext* context) {
  auto host = host_of(*context);
  if (!host.ok())
    return new RefusedAgent(std::string(host.error().reason()), host.error().message());
  auto stream = AgentStream::create(std::move(host).value(), *parts_.agents, *parts_.core_loop);
  remember([weak = std::weak_ptr(stream)](bool cut) {
    const auto alive = weak.lock();
    if (alive != nullptr && cut) alive->cut();
    return alive != nullptr;
  });
  return stream.get();
}

RelayReactor* LinkHandler::RelayConsole(grpc::CallbackServerContext* context) {
  auto host = host_of(*context);
  if (!host.ok()) return new Refused<RelayReactor>(host.error());
  auto relay = ConsoleRelay::create(*context, std::move(host).value(), *parts_.consoles);
  remember([weak = std::weak_ptr(relay)](bool cut) {
    const auto alive = weak.lock();
    if (alive != nullptr && cut) alive->end(stopping());
    return alive != nullptr;
  });
  return relay.get();
}

UploadReactor* LinkHandler::ReceiveUpload(grpc::CallbackServerContext* context,
                                          const agent::v1::ReceiveUploadRequest* request) {
  auto host = host_of(*context);
  if (!host.ok()) return new Refused<UploadReactor>(host.error());
  auto relay = UploadRelay::create(host.value(), request->ticket(), *parts_.uploads);
  remember([weak = std::weak_ptr(relay)](bool cut) {
    const auto alive = weak.lock();
    if (alive != nullptr && cut) alive->end(stopping());
    return alive != nullptr;
  });
  return relay.get();
}

void LinkHandler::close() {
  std::vector<std::function<bool(bool)>> open;
  {
    Lock lock(mutex_);
    open.swap(open_);
  }
  for (const auto& entry : open) entry(true);
}

}  // namespace reeve::server
