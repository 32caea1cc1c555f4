#include "agent/console/ring.h"

#include <algorithm>
#include <array>

#include <fcntl.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"

namespace reeve::agent {
namespace {

constexpr std::size_t kRecordBytes = 64;
constexpr std::uint64_t kDataAt = 4096;
constexpr std::uint64_t kMagic = 0x31676e6972766572;  // "revring1", little-endian
using Record = std::array<std::byte, kRecordBytes>;

enum Field : std::size_t { Magic, Capacity, Sequence, End, Inode, Offset, Check };

std::uint64_t get(const Record& record, Field field) {
  return load_le<std::uint64_t>(std::span(record).subspan(field * 8, 8));
}
void put(Record& record, Field field, std::uint64_t value) {
  store_le(std::span(record).subspan(field * 8, 8), value);
}

/// FNV-1a over everything before the checksum: against torn writes, not against malice.
std::uint64_t checksum(const Record& record) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < Check * 8; ++i)
    hash = (hash ^ std::to_integer<std::uint64_t>(record[i])) * 0x100000001b3;
  return hash;
}

}  // namespace

Result<ConsoleRing> ConsoleRing::open(const std::string& path, std::uint64_t capacity) {
  Fd fd = TRY(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  ConsoleRing ring(std::move(fd), capacity);
  ring.load();
  return ring;
}

void ConsoleRing::load() {
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kRecordBytes}}) {
    Record record{};
    if (!read_at(fd_.get(), at, record).ok()) continue;
    const bool valid = get(record, Magic) == kMagic && get(record, Capacity) == capacity_ &&
                       get(record, Check) == checksum(record);
    if (!valid || get(record, Sequence) <= sequence_) continue;
    sequence_ = get(record, Sequence);
    end_ = get(record, End);
    position_ = {.inode = get(record, Inode), .offset = get(record, Offset)};
  }
}

Status ConsoleRing::store() {
  Record record{};
  put(record, Magic, kMagic);
  put(record, Capacity, capacity_);
  put(record, Sequence, ++sequence_);
  put(record, End, end_);
  put(record, Inode, position_.inode);
  put(record, Offset, position_.offset);
  put(record, Check, checksum(record));
  return write_at(fd_.get(), sequence_ % 2 * kRecordBytes, record);
}

Status ConsoleRing::append(std::string_view data, LogPosition position) {
  std::uint64_t at = end_ + data.size();
  if (data.size() > capacity_) data.remove_prefix(data.size() - capacity_);
  at -= data.size();
  const std::uint64_t new_end = at + data.size();
  while (!data.empty()) {
    const std::uint64_t slot = at % capacity_;
    const auto part = data.substr(0, std::min<std::uint64_t>(data.size(), capacity_ - slot));
    TRY(write_at(fd_.get(), kDataAt + slot, as_bytes(part)));
    at += part.size();
    data.remove_prefix(part.size());
  }
  end_ = new_end;
  position_ = position;
  return store();
}

Result<ConsoleChunk> ConsoleRing::read(std::int64_t offset, std::size_t limit) const {
  ConsoleChunk chunk;
  chunk.offset = offset < 0 ? begin() : std::max(static_cast<std::uint64_t>(offset), begin());
  if (offset >= 0) chunk.lost = chunk.offset - static_cast<std::uint64_t>(offset);
  if (chunk.offset >= end_) return chunk;
  chunk.data.resize(std::min<std::uint64_t>(limit, end_ - chunk.offset));
  std::uint64_t at = chunk.offset;
  for (auto rest = std::as_writable_bytes(std::span(chunk.data)); !rest.empty();) {
    const std::uint64_t slot = at % capacity_;
    const auto part = rest.first(std::min<std::uint64_t>(rest.size(), capacity_ - slot));
    TRY(read_at(fd_.get(), kDataAt + slot, part));
    at += part.size();
    rest = rest.subspan(part.size());
  }
  return chunk;
}

}  // namespace reeve::agent
