#include "server/api/front_door.h"

#include <limits>

#include <grpcpp/server_context.h>

#include "base/text.h"
#include "server/auth/roles.h"

namespace reeve::server {
namespace {

/// "ipv4:127.0.0.1:4242" -> "127.0.0.1", "ipv6:%5B::1%5D:4242" -> "::1".
std::string address_of(std::string peer) {
  const auto colon = peer.find(':');
  if (colon != std::string::npos) peer.erase(0, colon + 1);
  if (peer.starts_with("%5B")) {
    const auto end = peer.find("%5D");
    return peer.substr(3, end == std::string::npos ? end : end - 3);
  }
  return peer.substr(0, peer.rfind(':'));
}

Error no_credentials() {
  return Error{Code::Unauthenticated, "NO_CREDENTIALS", "the call carries no API token"}.remedy(
      "Send metadata 'authorization: Bearer <token>', or run: reeve login");
}

}  // namespace

FrontDoor::FrontDoor(Parts parts)
    : parts_(std::move(parts)),
      limiter_(parts_.limits),
      first_call_id_(parts_.random->below(std::numeric_limits<std::uint64_t>::max())) {}

Result<Caller> FrontDoor::authenticate(const grpc::CallbackServerContext& context,
                                       std::string peer) const {
  constexpr std::string_view kScheme = "Bearer ";
  Caller caller{.actor = kAnonymous,
                .peer = std::move(peer),
                .permissions = PermissionSet{}.with(v1::PERMISSION_PUBLIC)};
  const auto& metadata = context.client_metadata();
  const auto [first, last] = metadata.equal_range("authorization");
  if (first == last) return caller;
  const std::string_view value(first->second.data(), first->second.size());
  if (std::next(first) != last || !value.starts_with(kScheme)) return no_credentials();
  const auto holder = TRY(parts_.tokens->authenticate(value.substr(kScheme.size())));
  caller.actor = holder.actor;
  caller.permissions = permissions_of(holder.role);
  return caller;
}

std::unique_ptr<Admission> FrontDoor::admit(grpc::CallbackServerContext& context,
                                            const google::protobuf::Message& request,
                                            AuditedBy audited, Status& refused) {
  const auto& policy = parts_.policies.of(request.GetDescriptor());
  const auto number = first_call_id_ + next_call_.fetch_add(1, std::memory_order_relaxed);
  auto call_id = to_hex(std::as_bytes(std::span(&number, 1)));
  context.AddTrailingMetadata("reeve-call-id", call_id);
  auto peer = address_of(context.peer());
  auto authenticated = authenticate(context, peer);
  Caller caller{.actor = kAnonymous, .peer = std::move(peer)};
  if (authenticated.ok())
    caller = std::move(authenticated).value();
  else
    refused = std::move(authenticated).error();
  caller.audited_by_front_door = audited == AuditedBy::Door;
  auto admission = std::make_unique<Admission>(
      Admission::Parts{
          .policy = &policy, .limiter = &limiter_, .audit = parts_.audit, .clock = parts_.clock},
      caller, std::move(call_id));
  if (refused.ok()) refused = admission->count_in();
  if (refused.ok() && !caller.permissions.has(policy.permission)) {
    refused = caller.actor == kAnonymous
                  ? no_credentials()
                  : Error{Code::PermissionDenied, "NOT_PERMITTED",
                          "this token's role does not permit " + policy.method}
                        .with("permission", v1::Permission_Name(policy.permission))
                        .remedy("Ask an administrator for a token with a role that does.");
  }
  if (refused.ok()) refused = check_size(request);
  if (closed_.load())
    refused = Error{Code::Unavailable, "SERVER_STOPPING", "the server is stopping"};
  return admission;
}

void FrontDoor::remember(std::string actor, std::weak_ptr<OpenCall> call) {
  Lock lock(mutex_);
  if (open_.size() >= sweep_at_) {
    std::erase_if(open_, [](const auto& entry) { return entry.call.expired(); });
    sweep_at_ = std::max<std::size_t>(64, open_.size() * 2);
  }
  open_.push_back({.actor = std::move(actor), .call = std::move(call)});
}

void FrontDoor::end_calls_of(const std::string& actor) {
  std::vector<std::shared_ptr<OpenCall>> calls;
  {
    Lock lock(mutex_);
    for (const auto& entry : open_)
      if (entry.actor == actor)
        if (auto call = entry.call.lock()) calls.push_back(std::move(call));
  }
  const Error revoked{Code::Unauthenticated, "TOKEN_REVOKED", "the API token was revoked"};
  for (const auto& call : calls) call->stop(revoked);
}

void FrontDoor::close() {
  closed_.store(true);
  std::vector<Open> open;
  {
    Lock lock(mutex_);
    open.swap(open_);
  }
  const Error stopping{Code::Unavailable, "SERVER_STOPPING", "the server is stopping"};
  for (const auto& entry : open)
    if (const auto call = entry.call.lock()) call->stop(stopping);
}

std::string FrontDoor::job_of(const google::protobuf::Message& response) {
  const auto* job = dynamic_cast<const v1::Job*>(&response);
  return job == nullptr ? std::string() : job->uid();
}

}  // namespace reeve::server
