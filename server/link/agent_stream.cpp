#include "server/link/agent_stream.h"

#include "base/log.h"

namespace reeve::server {

std::shared_ptr<AgentStream> AgentStream::create(std::string host_uid, AgentPool& pool,
                                                 Loop& loop) {
  std::shared_ptr<AgentStream> stream(new AgentStream(pool, loop));
  stream->self_ = stream;
  stream->session_ = pool.open(std::move(host_uid), stream);
  stream->StartRead(&stream->reading_);
  return stream;
}

void AgentStream::send(const agent::v1::ConnectResponse& message) {
  {
    Lock lock(mutex_);
    if (closing_) return;
    queued_bytes_ += message.ByteSizeLong();
    if (queued_bytes_ > kMaxQueuedBytes) {
      log::warning("agent does not read what it is sent", {{"session", session_}});
      queue_.clear();
      closing_ = true;
    } else {
      queue_.push_back(message);
    }
  }
  advance();
}

void AgentStream::close() {
  {
    Lock lock(mutex_);
    closing_ = true;
  }
  advance();
}

void AgentStream::cut() {
  {
    Lock lock(mutex_);
    queue_.clear();
    closing_ = true;
  }
  advance();
}

void AgentStream::OnReadDone(bool ok) {
  if (!ok) return cut();
  pool_.receive(session_, std::move(reading_));
  // In order behind what receive() posted: comes when the core loop has taken the message.
  loop_.post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->read_next();
  });
}

void AgentStream::read_next() {
  Lock lock(mutex_);
  if (finished_) return;  // under the lock, since nothing may begin after Finish
  reading_.Clear();
  StartRead(&reading_);
}

void AgentStream::OnWriteDone(bool ok) {
  if (!ok) {
    Lock lock(mutex_);
    queue_.clear();
    closing_ = true;
  }
  pump();
}

void AgentStream::pump() {
  do {
    if (start_write()) return;
  } while (!turn_.give_back());
}

bool AgentStream::start_write() {
  bool ending = false;
  {
    Lock lock(mutex_);
    if (finished_) return true;
    if (queue_.empty() && !closing_) return false;
    ending = finished_ = queue_.empty();
    if (!ending) {
      writing_ = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= writing_.ByteSizeLong();
    }
  }
  // Only the holder of the turn gets here, and after Finish it is never given back.
  if (ending)
    Finish(grpc::Status::OK);
  else
    StartWrite(&writing_);
  return true;
}

void AgentStream::OnDone() {
  pool_.closed(session_);
  self_.reset();
}

RefusedAgent::RefusedAgent(std::string reason, std::string message) {
  refusal_.mutable_refusal()->set_reason(std::move(reason));
  refusal_.mutable_refusal()->set_message(std::move(message));
  StartWriteAndFinish(&refusal_, {}, grpc::Status::OK);
}

}  // namespace reeve::server
