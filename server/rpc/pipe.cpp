#include "server/rpc/pipe.h"

namespace reeve::server {

void Pipe::on_readable(std::function<void()> notify) {
  Lock lock(mutex_);
  readable_.swap(notify);
}

void Pipe::on_writable(std::function<void()> notify) {
  Lock lock(mutex_);
  writable_.swap(notify);
}

void Pipe::notify_reader() const {
  std::function<void()> notify;
  {
    Lock lock(mutex_);
    notify = readable_;
  }
  if (notify) notify();
}

void Pipe::notify_writer() const {
  std::function<void()> notify;
  {
    Lock lock(mutex_);
    notify = writable_;
  }
  if (notify) notify();
}

bool Pipe::push(Chunk chunk) {
  bool room = false;
  {
    Lock lock(mutex_);
    if (end_ || abandoned_) return false;
    bytes_ += chunk.bytes.size();
    chunks_.push_back(std::move(chunk));
    room = bytes_ < capacity_;
  }
  notify_reader();
  return room;
}

bool Pipe::is_writable() const {
  Lock lock(mutex_);
  return bytes_ < capacity_ && !end_ && !abandoned_;
}

void Pipe::finish(Status outcome) {
  {
    Lock lock(mutex_);
    if (end_) return;
    end_ = std::move(outcome);
  }
  notify_reader();
}

std::optional<Error> Pipe::abandoned() const {
  Lock lock(mutex_);
  return abandoned_;
}

std::optional<Chunk> Pipe::pop() {
  std::optional<Chunk> chunk;
  bool has_room_again = false;
  {
    Lock lock(mutex_);
    if (chunks_.empty()) return std::nullopt;
    const bool was_full = bytes_ >= capacity_;
    chunk = std::move(chunks_.front());
    chunks_.pop_front();
    bytes_ -= chunk->bytes.size();
    has_room_again = was_full && bytes_ < capacity_;
  }
  if (has_room_again) notify_writer();
  return chunk;
}

std::optional<Status> Pipe::end() const {
  Lock lock(mutex_);
  return chunks_.empty() ? end_ : std::nullopt;
}

void Pipe::abandon(Error why) {
  {
    Lock lock(mutex_);
    if (abandoned_) return;
    abandoned_ = std::move(why);
    chunks_.clear();
    bytes_ = 0;
  }
  notify_writer();
}

}  // namespace reeve::server
