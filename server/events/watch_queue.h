// server/events/watch_queue.h - what lies between the feed and one watcher: a bounded queue.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/status.h"
#include "reeve/v1/event.pb.h"

namespace reeve::server {

/// Shared by the feed and its watcher, whichever lives longer. Any thread.
class WatchQueue {
 public:
  using Item = std::shared_ptr<const v1::Event>;

  WatchQueue(std::size_t capacity, std::function<void()> ready)
      : capacity_(capacity), ready_(std::move(ready)) {}

  /// False when it is full, or nobody reads any more.
  bool push(Item item) {
    bool wake = false;
    {
      Lock lock(mutex_);
      if (end_ || closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
      wake = std::exchange(starved_, false);
    }
    if (wake) call_ready();
    return true;
  }
  void end(Error error) {
    {
      Lock lock(mutex_);
      if (!end_) end_ = std::move(error);
    }
    call_ready();
  }
  std::size_t size() const {
    Lock lock(mutex_);
    return items_.size();
  }
  bool is_closed() const {
    Lock lock(mutex_);
    return closed_;
  }

  Item take() {
    Lock lock(mutex_);
    if (items_.empty()) {
      starved_ = true;
      return nullptr;
    }
    Item item = std::move(items_.front());
    items_.pop_front();
    return item;
  }
  std::optional<Error> ended() const {
    Lock lock(mutex_);
    return items_.empty() ? end_ : std::nullopt;
  }
  /// Afterwards ready() is not called, and none is under way.
  void close() {
    {
      Lock lock(mutex_);
      closed_ = true;
    }
    Lock calling(ready_mutex_);
    ready_ = nullptr;
  }

 private:
  void call_ready() {
    Lock calling(ready_mutex_);
    if (ready_) ready_();
  }

  const std::size_t capacity_;
  mutable Mutex mutex_;
  std::deque<Item> items_ REEVE_GUARDED_BY(mutex_);
  std::optional<Error> end_ REEVE_GUARDED_BY(mutex_);
  bool closed_ REEVE_GUARDED_BY(mutex_) = false;
  bool starved_ REEVE_GUARDED_BY(mutex_) = true;
  Mutex ready_mutex_;  // held while ready_ runs; never together with mutex_
  std::function<void()> ready_ REEVE_GUARDED_BY(ready_mutex_);
};

}  // namespace reeve::server
