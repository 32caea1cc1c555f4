#include "server/api/watch_stream.h"

#include "server/rpc/status_to_grpc.h"

namespace reeve::server {

std::shared_ptr<WatchStream> WatchStream::create(std::unique_ptr<Admission> admission,
                                                 EventFeed& feed, const v1::WatchRequest& request) {
  std::shared_ptr<WatchStream> stream(new WatchStream(std::move(admission)));
  stream->self_ = stream;
  stream->turn_.take();  // nobody writes before there is a watch
  // Weak: the feed may call while the stream goes away.
  auto watch = feed.watch(stream->admission_->caller(), request,
                          [weak = std::weak_ptr<WatchStream>(stream)] {
                            if (const auto self = weak.lock()) self->advance();
                          });
  if (!watch.ok()) {
    stream->end(watch.error());
    return stream;
  }
  stream->watch_ = std::move(watch).value();
  stream->pump();
  return stream;
}

void WatchStream::pump() {
  do {
    if (start_write()) return;
  } while (!turn_.give_back());
}

bool WatchStream::start_write() {
  std::optional<Error> why;
  {
    Lock lock(mutex_);
    if (finished_) return true;
    why = stopping_;
  }
  // Not under the lock: the feed may be calling advance() from inside its own.
  if (!why) {
    if (const auto event = watch_->take()) {
      *writing_.mutable_event() = *event;
      StartWrite(&writing_);
      return true;
    }
    why = watch_->end();
  }
  if (why) end(*why);
  return why.has_value();
}

void WatchStream::OnWriteDone(bool ok) {
  if (!ok) {
    Lock lock(mutex_);
    if (!stopping_) stopping_ = Error{Code::Cancelled, "CALL_CANCELLED", "the client hung up"};
  }
  pump();
}

void WatchStream::end(const Error& error) {
  {
    Lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
  }
  admission_->record({.status = error, .resource = {}, .job_uid = {}}, {}, [] {});
  Finish(to_grpc(error));
}

void WatchStream::stop(const Error& error) {
  {
    Lock lock(mutex_);
    if (!stopping_) stopping_ = error;
  }
  advance();  // at once, or after the write that is under way
}

void WatchStream::OnCancel() {
  stop({Code::Cancelled, "CALL_CANCELLED", "the client hung up"});
}

void WatchStream::OnDone() {
  watch_.reset();
  self_.reset();
}

}  // namespace reeve::server
