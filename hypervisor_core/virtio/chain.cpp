#include "hypervisor_core/virtio/chain.h"

#include <algorithm>
#include <cstring>

#include "hypervisor_core/virtio/queue.h"

namespace reeve::core::virtio {
namespace {

Error too_short() {
  return {Code::InvalidArgument, "CHAIN_TOO_SHORT", "the chain ends early"};
}

}  // namespace

Chain::Chain(Queue& queue, std::uint16_t head, std::vector<Segment> segments, std::size_t readable)
    : queue_(&queue), head_(head), segments_(std::move(segments)) {
  readable_.end = readable;
  writable_.segment = readable;
  writable_.end = segments_.size();
  for (std::size_t i = 0; i < segments_.size(); ++i)
    (i < readable ? readable_ : writable_).left += segments_[i].length;
}

Chain::Chain(Chain&& other) noexcept
    : queue_(std::exchange(other.queue_, nullptr)),
      head_(other.head_),
      segments_(std::move(other.segments_)),
      readable_(std::exchange(other.readable_, {})),
      writable_(std::exchange(other.writable_, {})),
      written_(other.written_) {}

Chain& Chain::operator=(Chain&& other) noexcept {
  if (this == &other) return *this;
  finish();
  queue_ = std::exchange(other.queue_, nullptr);
  head_ = other.head_;
  segments_ = std::move(other.segments_);
  readable_ = std::exchange(other.readable_, {});
  writable_ = std::exchange(other.writable_, {});
  written_ = other.written_;
  return *this;
}

template <class Use>
void Chain::advance(Cursor& cursor, std::size_t length, Use use) {
  cursor.left -= length;
  while (length > 0) {
    const Segment& segment = segments_[cursor.segment];
    const std::size_t step = std::min(length, segment.length - cursor.offset);
    use(segment, cursor.offset, step);
    cursor.offset += step;
    length -= step;
    if (cursor.offset == segment.length) {
      ++cursor.segment;
      cursor.offset = 0;
    }
  }
}

std::size_t Chain::read_some(std::span<std::byte> out) {
  const std::size_t length = std::min(out.size(), readable_.left);
  std::byte* to = out.data();
  advance(readable_, length, [&](const Segment& segment, std::size_t offset, std::size_t step) {
    std::memcpy(to, segment.host + offset, step);
    to += step;
  });
  return length;
}

Status Chain::read(std::span<std::byte> out) {
  if (out.size() > readable_.left) return too_short();
  read_some(out);
  return {};
}

Status Chain::write(std::span<const std::byte> bytes) {
  if (bytes.size() > writable_.left) return too_short();
  const std::byte* from = bytes.data();
  advance(writable_, bytes.size(),
          [&](const Segment& segment, std::size_t offset, std::size_t step) {
            std::memcpy(segment.host + offset, from, step);
            from += step;
          });
  written_ += bytes.size();
  return {};
}

Status Chain::write_last(std::span<const std::byte> bytes) {
  if (bytes.size() > writable_.left) return too_short();
  Cursor end = writable_;
  advance(end, writable_.left - bytes.size(), [](const Segment&, std::size_t, std::size_t) {});
  const std::byte* from = bytes.data();
  advance(end, bytes.size(), [&](const Segment& segment, std::size_t offset, std::size_t step) {
    std::memcpy(segment.host + offset, from, step);
    from += step;
  });
  writable_.left -= bytes.size();
  written_ += bytes.size();
  return {};
}

void Chain::rewrite(std::size_t at, std::span<const std::byte> bytes) {
  for (std::size_t i = readable_.end; i < segments_.size() && !bytes.empty(); ++i) {
    const Segment& segment = segments_[i];
    if (at >= segment.length) {
      at -= segment.length;
      continue;
    }
    const std::size_t step = std::min(bytes.size(), segment.length - at);
    std::memcpy(segment.host + at, bytes.data(), step);
    bytes = bytes.subspan(step);
    at = 0;
  }
}

void Chain::take_readable(std::size_t length, std::vector<iovec>& out) {
  advance(readable_, std::min(length, readable_.left),
          [&](const Segment& segment, std::size_t offset, std::size_t step) {
            out.push_back({segment.host + offset, step});
          });
}

void Chain::take_writable(std::size_t length, std::vector<iovec>& out) {
  length = std::min(length, writable_.left);
  advance(writable_, length, [&](const Segment& segment, std::size_t offset, std::size_t step) {
    out.push_back({segment.host + offset, step});
  });
  written_ += length;
}

void Chain::finish() {
  if (queue_ == nullptr) return;
  Queue* queue = std::exchange(queue_, nullptr);
  // Written bytes are marked generously (every writable segment of a chain that wrote): a page too
  // many in the dirty log costs a copy, one too few costs the guest's data.
  if (written_ > 0)
    for (std::size_t i = readable_.end; i < segments_.size(); ++i)
      queue->memory_.mark_dirty(segments_[i].address, segments_[i].length);
  queue->give_back(head_, written_);
  queue->recycle(std::move(segments_));
}

}  // namespace reeve::core::virtio
