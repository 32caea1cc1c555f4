#include "hypervisor_core/vm/console_ring.h"

#include <algorithm>

namespace reeve::core {

void ConsoleRing::write(std::span<const std::byte> bytes) {
  std::function<void()> listener;
  {
    Lock lock(mutex_);
    for (const auto byte : bytes) bytes_[end_++ % bytes_.size()] = static_cast<char>(byte);
    listener = listener_;
  }
  if (listener) listener();
}

ConsoleRing::Piece ConsoleRing::read(std::uint64_t offset, std::size_t limit) const {
  Lock lock(mutex_);
  const std::uint64_t oldest = end_ > bytes_.size() ? end_ - bytes_.size() : 0;
  Piece piece{.offset = std::clamp(offset, oldest, end_)};
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(end_ - piece.offset, limit));
  piece.bytes.reserve(count);
  for (std::uint64_t at = piece.offset; at < piece.offset + count; ++at)
    piece.bytes.push_back(bytes_[at % bytes_.size()]);
  return piece;
}

std::uint64_t ConsoleRing::end_offset() const {
  Lock lock(mutex_);
  return end_;
}

void ConsoleRing::set_listener(std::function<void()> listener) {
  Lock lock(mutex_);
  listener_ = std::move(listener);
}

}  // namespace reeve::core
