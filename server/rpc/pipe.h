// server/rpc/pipe.h - a bounded queue of byte chunks from one stream to another, with back-pressure
// both ways.
//
// The producer stops reading its own stream while the pipe is full; the consumer takes when it can
// write. Either end may give up; the other learns why. Any thread; one producer, one consumer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/status.h"

namespace reeve::server {

struct Chunk {
  std::int64_t offset = 0;
  std::int64_t lost_bytes = 0;
  std::string bytes{};
};

class Pipe {
 public:
  explicit Pipe(std::size_t capacity_bytes) : capacity_(capacity_bytes) {}

  /// Called after the pipe may have got readable or ended (consumer), writable or abandoned
  /// (producer). From the other end's thread, never under a lock, possibly once too often. Set
  /// before use; an empty function ends it, though one call may be on its way.
  void on_readable(std::function<void()> notify);
  void on_writable(std::function<void()> notify);

  // Producer.
  /// Always takes the chunk; whether another is welcome now, else on_writable tells.
  bool push(Chunk chunk);
  bool is_writable() const;
  /// Nothing more comes. The consumer gets the rest first, then this. The first call counts.
  void finish(Status outcome);
  /// Why the consumer does not want more.
  std::optional<Error> abandoned() const;

  // Consumer.
  std::optional<Chunk> pop();
  /// How the producer finished, once everything was taken.
  std::optional<Status> end() const;
  void abandon(Error why);

 private:
  void notify_reader() const;
  void notify_writer() const;

  const std::size_t capacity_;
  mutable Mutex mutex_;
  std::deque<Chunk> chunks_ REEVE_GUARDED_BY(mutex_);
  std::size_t bytes_ REEVE_GUARDED_BY(mutex_) = 0;
  std::optional<Status> end_ REEVE_GUARDED_BY(mutex_);
  std::optional<Error> abandoned_ REEVE_GUARDED_BY(mutex_);
  std::function<void()> readable_ REEVE_GUARDED_BY(mutex_);
  std::function<void()> writable_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace reeve::server
