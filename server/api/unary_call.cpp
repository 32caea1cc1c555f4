#include "server/api/unary_call.h"

#include "server/rpc/status_to_grpc.h"

namespace reeve::server {

std::shared_ptr<UnaryCall> UnaryCall::create(std::unique_ptr<Admission> admission, Loop& loop) {
  std::shared_ptr<UnaryCall> call(new UnaryCall(std::move(admission), loop));
  call->self_ = call;
  return call;
}

void UnaryCall::run(const Status& refused, std::string resource, std::string summary,
                    const std::function<void()>& work) {
  resource_ = std::move(resource);
  summary_ = std::move(summary);
  if (refused.ok())
    work();
  else
    answer(refused, {}, [] {});
  std::optional<Ending> ending;
  {
    Lock lock(mutex_);
    running_ = false;
    ending = std::move(waiting_);
    if (ending) finished_ = true;
  }
  if (ending) finish(ending->status, ending->store);
}

void UnaryCall::answer(Status status, std::string job_uid, std::function<void()> store) {
  const Outcome outcome{.status = status, .resource = resource_, .job_uid = std::move(job_uid)};
  // The answer leaves when its audit row is durable.
  admission_->record(
      outcome, std::move(summary_),
      [self = shared_from_this(), status = std::move(status), store = std::move(store)] {
        {
          Lock lock(self->mutex_);
          if (self->finished_) return;
          if (self->running_) {
            if (!self->waiting_) self->waiting_ = Ending{.status = status, .store = store};
            return;
          }
          self->finished_ = true;
        }
        self->loop_.post([self, status, store] { self->finish(status, store); });
      });
}

void UnaryCall::OnCancel() {
  end_early({Code::Cancelled, "CALL_CANCELLED", "the client hung up"});
}

void UnaryCall::end_early(const Error& error) {
  {
    Lock lock(mutex_);
    if (finished_) return;
    if (running_) {
      if (!waiting_) waiting_ = Ending{.status = error, .store = [] {}};
      return;
    }
    finished_ = true;
  }
  finish(error, [] {});
}

void UnaryCall::finish(const Status& status, const std::function<void()>& store) {
  if (status.ok()) store();
  Finish(to_grpc(status));
}

void UnaryCall::OnDone() {
  self_.reset();
}

}  // namespace reeve::server
