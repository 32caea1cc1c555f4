// server/api/front_door.h - what every call passes on its way in and out.
//
// Authenticates (metadata `authorization: Bearer reeve_...`), authorises from the method's option
// in the .proto, counts, runs the work, writes log line and audit row, and turns the outcome into a
// grpc::Status. No handler does any of these itself:
//
//   return door_.enter(context, request, response,
//                      [&](const Caller& caller) { return vms_.get(caller, *request); });
//   return door_.enter(context, request, response, [&](const Caller& caller, Reply<v1::Job> reply)
//   {
//     vms_.start(caller, *request, std::move(reply));
//   });
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <type_traits>

#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "base/random.h"
#include "reeve/v1/job.pb.h"
#include "server/api/admission.h"
#include "server/api/request_summary.h"
#include "server/api/unary_call.h"
#include "server/auth/api_tokens.h"
#include "server/rpc/status_to_grpc.h"

namespace reeve::server {

/// Who writes the audit row of a call that succeeded: the service in the transaction that makes the
/// change, so that there is no change without its row, or the door after it, for calls that change
/// nothing stored (consoles, uploads, renewals). Refusals are always the door's.
enum class AuditedBy : std::uint8_t { Door, Service };

/// A stream that was turned away.
template <class Reactor>
class RefusedStream final : public Reactor {
 public:
  explicit RefusedStream(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

class FrontDoor {
 public:
  /// All outlive the door.
  struct Parts {
    MethodPolicies policies{};
    ApiTokens* tokens = nullptr;
    AuditLog* audit = nullptr;
    const Clock* clock = nullptr;
    Random* random = nullptr;
    Loop* reply_loop = nullptr;  ///< finishes calls that are answered later
    CallLimits limits{};
  };
  explicit FrontDoor(Parts parts);

  /// A unary call. `work` runs at once and either returns Result<Response>, or fills a Response& in
  /// place and returns Status, or takes a Reply<Response> and answers later, whenever and wherever.
  template <AuditedBy kAudited = AuditedBy::Door, class Request, class Response, class Work>
  grpc::ServerUnaryReactor* enter(grpc::CallbackServerContext* context, const Request* request,
                                  Response* response, const Work& work) {
    Status refused;
    auto call = UnaryCall::create(admit(*context, *request, kAudited, refused), reply_loop());
    const auto& admission = call->admission();
    remember({}, call);  // short: a revoked token does not end it
    const auto reply = [call, response](Result<Response> result) {
      if (!result.ok()) return call->answer(std::move(result).error(), {}, [] {});
      auto value = std::make_shared<Response>(std::move(result).value());
      call->answer({}, job_of(*value), [value, response] { *response = std::move(*value); });
    };
    call->run(refused, resource_of(*request),
              admission.policy().mutates ? summary_of(*request) : std::string(), [&] {
                if constexpr (std::is_invocable_v<Work, const Caller&>)
                  reply(work(admission.caller()));
                else if constexpr (std::is_invocable_v<Work, const Caller&, Response&>)
                  call->answer(work(admission.caller(), *response), {}, [] {});
                else
                  work(admission.caller(), Reply<Response>(reply));
              });
    return call.get();
  }

  /// A streaming call with messages of type Request; `first` is the one that came with the call, if
  /// one did. `make(std::unique_ptr<Admission>)` returns a
  /// std::shared_ptr of a reactor that owns itself until OnDone, is an OpenCall, and records its
  /// outcome.
  template <class Reactor, class Request, class Make>
  Reactor* enter_stream(grpc::CallbackServerContext* context, const Make& make,
                        const Request& first = Request::default_instance()) {
    Status refused;
    auto admission = admit(*context, first, AuditedBy::Door, refused);
    if (!refused.ok()) {
      admission->record({.status = refused}, {}, [] {});
      return new RefusedStream<Reactor>(to_grpc(refused));
    }
    auto actor = admission->caller().actor;
    auto reactor = make(std::move(admission));
    remember(std::move(actor), reactor);
    return reactor.get();
  }

  /// Ends the open calls of a token that was revoked, with Unauthenticated/TOKEN_REVOKED.
  void end_calls_of(const std::string& actor);
  /// Ends all calls with Unavailable/SERVER_STOPPING and refuses new ones.
  void close();
  int open_calls() const { return limiter_.open(); }

 private:
  /// Never null: a refused call is recorded too, as what it claimed to be.
  std::unique_ptr<Admission> admit(grpc::CallbackServerContext& context,
                                   const google::protobuf::Message& request, AuditedBy audited,
                                   Status& refused);
  Result<Caller> authenticate(const grpc::CallbackServerContext& context, std::string peer) const;
  Loop& reply_loop() { return *parts_.reply_loop; }
  void remember(std::string actor, std::weak_ptr<OpenCall> call);
  static std::string job_of(const google::protobuf::Message& response);

  const Parts parts_;
  CallLimiter limiter_;
  const std::uint64_t first_call_id_;
  std::atomic<std::uint64_t> next_call_{0};
  std::atomic<bool> closed_{false};
  Mutex mutex_;
  struct Open {
    std::string actor{};
    std::weak_ptr<OpenCall> call{};
  };
  std::vector<Open> open_ REEVE_GUARDED_BY(mutex_);
  std::size_t sweep_at_ REEVE_GUARDED_BY(mutex_) = 64;
};

}  // namespace reeve::server
