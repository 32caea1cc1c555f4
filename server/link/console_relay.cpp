#include "server/link/console_relay.h"

#include "server/app/errors.h"
#include "server/rpc/status_to_grpc.h"

namespace reeve::server {
namespace {

Error relay_lost() {
  return {Code::Unavailable, "HOST_UNREACHABLE", "the host ended the console's relay"};
}

}  // namespace

std::shared_ptr<ConsoleRelay> ConsoleRelay::create(grpc::CallbackServerContext& context,
                                                   std::string host_uid, ConsoleHub& hub) {
  std::shared_ptr<ConsoleRelay> relay(new ConsoleRelay(context, std::move(host_uid), hub));
  relay->self_ = relay;
  relay->read_turn_.take();
  relay->StartRead(&relay->reading_);
  return relay;
}

Status ConsoleRelay::redeem() {
  session_ = TRY(hub_.redeem(reading_.ticket(), host_uid_));
  const std::weak_ptr<ConsoleRelay> weak = weak_from_this();
  session_->output.on_writable([weak] {
    if (const auto self = weak.lock()) self->read_on();
  });
  session_->input.on_readable([weak] {
    if (const auto self = weak.lock()) self->write_on();
  });
  session_->output.push({});  // tells the client that it is attached
  write_on();
  return {};
}

void ConsoleRelay::OnReadDone(bool ok) {
  if (!ok) return end(relay_lost());
  if (session_ == nullptr) {
    if (auto status = redeem(); !status.ok()) return finish(status);
  } else if (reading_.has_output()) {
    auto& output = *reading_.mutable_output();
    session_->output.push({.offset = output.offset(),
                           .lost_bytes = output.lost_bytes(),
                           .bytes = std::move(*output.mutable_data())});
  } else if (reading_.has_refusal()) {
    return end(to_error(reading_.refusal()));
  }
  pump_reads();
}

void ConsoleRelay::pump_reads() {
  do {
    if (session_->output.abandoned()) return finish({});
    if (!session_->output.is_writable()) continue;
    Lock lock(mutex_);
    if (!finished_) StartRead(&reading_);
    return;
  } while (!read_turn_.give_back());
}

void ConsoleRelay::pump_writes() {
  do {
    if (auto chunk = session_->input.pop()) {
      writing_.set_input(std::move(chunk->bytes));
      Lock lock(mutex_);
      if (finished_) return;
      is_writing_ = true;
      StartWrite(&writing_);
      return;
    }
    if (session_->input.end()) return finish({});
  } while (!write_turn_.give_back());
}

void ConsoleRelay::OnWriteDone(bool ok) {
  {
    Lock lock(mutex_);
    is_writing_ = false;
  }
  if (!ok) return end(relay_lost());
  pump_writes();
}

void ConsoleRelay::OnCancel() {
  end(relay_lost());
}

void ConsoleRelay::end(const Error& why) {
  if (session_ != nullptr) session_->output.finish(why);
  finish(why);
}

void ConsoleRelay::finish(const Status& status) {
  bool is_writing = false;
  {
    Lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
    is_writing = is_writing_;
  }
  // An agent whose guest takes no input reads nothing: the status would wait behind that input.
  if (is_writing) context_.TryCancel();
  Finish(to_grpc(status));
}

void ConsoleRelay::OnDone() {
  if (session_ != nullptr) session_->output.finish(relay_lost());
  self_.reset();
}

}  // namespace reeve::server
