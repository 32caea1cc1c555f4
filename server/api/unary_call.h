// server/api/unary_call.h - one unary call on its way through the front door, answered at any time
// from any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "server/api/admission.h"

namespace reeve::server {

/// Owned by gRPC until OnDone, and by the service that still has to reply.
///
/// The request and the response message die with the call, so it never ends while the service runs
/// in run(); what arrives meanwhile (a reply, the client's cancel, the server's stop) waits for its
/// return.
class UnaryCall final : public grpc::ServerUnaryReactor,
                        public OpenCall,
                        public std::enable_shared_from_this<UnaryCall> {
 public:
  /// `loop` finishes calls that are answered later: database and core threads do not write to
  /// sockets.
  static std::shared_ptr<UnaryCall> create(std::unique_ptr<Admission> admission, Loop& loop);

  /// Calls `work` unless `refused` has an error; keeps `resource` and `summary` for the audit row.
  void run(const Status& refused, std::string resource, std::string summary,
           const std::function<void()>& work);
  /// The service's answer, once; `store` puts the response in place if the call still stands.
  void answer(Status status, std::string job_uid, std::function<void()> store);
  void stop(const Error& error) override { end_early(error); }
  const Admission& admission() const { return *admission_; }

 private:
  UnaryCall(std::unique_ptr<Admission> admission, Loop& loop)
      : admission_(std::move(admission)), loop_(loop) {}

  void OnCancel() override;
  void OnDone() override;
  void end_early(const Error& error);
  void finish(const Status& status, const std::function<void()>& store);

  struct Ending {
    Status status{};
    std::function<void()> store{};
  };
  const std::unique_ptr<Admission> admission_;
  Loop& loop_;  // outlives all calls
  std::string resource_;
  std::string summary_;
  std::shared_ptr<UnaryCall> self_;  // until OnDone
  Mutex mutex_;
  bool running_ REEVE_GUARDED_BY(mutex_) = true;
  bool finished_ REEVE_GUARDED_BY(mutex_) = false;
  std::optional<Ending> waiting_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
