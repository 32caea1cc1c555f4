#include "server/api/watch_stream.h"

#include "server/rpc/status_to_grpc.h"

namespace reeve::server {

std::shared_ptr<WatchStream> WatchStream::create(std::unique_ptr<Admission> admission,
                                                 EventFeed& feed, const v1::WatchRequest& request) {
  std::shared_ptr<WatchStream> stream(new WatchStream(std::move(admission)));
  stream->self_ = stream;
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
  {
    Lock lock(stream->mutex_);
    stream->busy_ = false;
  }
  stream->advance();
  return stream;
}

void WatchStream::advance() {
  {
    Lock lock(mutex_);
    again_ = true;
    if (finished_ || busy_) return;
    busy_ = true;
  }
  const auto due = next();
  if (!due) return;
  if (due->event == nullptr) return end(*due->error);
  *writing_.mutable_event() = *due->event;
  StartWrite(&writing_);
}

std::optional<WatchStream::Due> WatchStream::next() {
  while (true) {
    {
      Lock lock(mutex_);
      if (stopping_) return Due{.event = nullptr, .error = stopping_};
      if (!again_) {
        busy_ = false;
        return std::nullopt;
      }
      again_ = false;
    }
    // Not under the lock: the feed may be calling advance() from inside its own.
    if (auto event = watch_->take()) {
      return Due{.event = std::move(event), .error = std::nullopt};
    }
    if (auto why = watch_->end()) return Due{.event = nullptr, .error = std::move(why)};
  }
}

void WatchStream::OnWriteDone(bool ok) {
  {
    Lock lock(mutex_);
    busy_ = false;
    if (!ok && !stopping_)
      stopping_ = Error{Code::Cancelled, "CALL_CANCELLED", "the client hung up"};
  }
  advance();
}

void WatchStream::end(const Error& error) {
  {
    Lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
  }
  admission_->record({.status = error}, {}, [] {});
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
