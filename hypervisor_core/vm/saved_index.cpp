#include "hypervisor_core/vm/saved_index.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

namespace reeve::core {
namespace {

constexpr std::array<char, 8> kTrailerMagic{'R', 'E', 'E', 'V', 'E', 'I', 'D', 'X'};
constexpr std::size_t kTrailerBytes = 8 + 8 + 4;
constexpr std::size_t kEntryBytes = 8 + 8 + 4;
constexpr std::size_t kEntriesPerRecord = (kMaxRecord - 8) / kEntryBytes;
constexpr std::size_t kRecordHead = 5, kRecordTail = 4;  // type and length; checksum
constexpr std::size_t kMaxChunkPages = (kMaxRecord - 8) / kPageSize;

Error bad(const std::string& what) {
  return Error{Code::InvalidArgument, "STATE_FORMAT", "saved state: " + what};
}

/// One piece of a file, from an offset on.
class Piece final : public StateSource {
 public:
  Piece(int file, std::uint64_t offset) : file_(file), offset_(offset) {}
  Status read(std::span<std::byte> out) override {
    auto got = read_at(file_, offset_, out);
    if (!got.ok() && got.error().reason() == "FILE_TRUNCATED")
      return Error{Code::DataLoss, "STATE_TRUNCATED", "the saved state ends too early"};
    offset_ += out.size();
    return got;
  }
  std::uint64_t offset() const { return offset_; }

 private:
  const int file_;
  std::uint64_t offset_;
};

void append_entry(std::string& bytes, const SavedChunk& chunk) {
  std::array<std::byte, kEntryBytes> entry{};
  store_le<std::uint64_t>(entry, chunk.address);
  store_le<std::uint64_t>(std::span(entry).subspan(8), chunk.offset);
  store_le<std::uint32_t>(std::span(entry).subspan(16), static_cast<std::uint32_t>(chunk.pages));
  bytes.append(reinterpret_cast<const char*>(entry.data()), entry.size());
}

Status take_entries(std::string_view bytes, SavedIndex& index) {
  const auto raw = std::as_bytes(std::span(bytes.data(), bytes.size()));
  if (raw.size() < 8 || (raw.size() - 8) % kEntryBytes != 0) return bad("index record");
  index.machine_offset = load_le<std::uint64_t>(raw);
  for (std::size_t at = 8; at < raw.size(); at += kEntryBytes) {
    const auto entry = raw.subspan(at, kEntryBytes);
    const SavedChunk chunk{.address = load_le<std::uint64_t>(entry),
                           .offset = load_le<std::uint64_t>(entry.subspan(8)),
                           .pages = load_le<std::uint32_t>(entry.subspan(16))};
    if (chunk.pages == 0 || chunk.pages > kMaxChunkPages || chunk.address % kPageSize != 0 ||
        chunk.address + chunk.pages * kPageSize < chunk.address)
      return bad("index entry");
    if (!index.chunks.empty()) {
      const auto& last = index.chunks.back();
      if (chunk.address < last.address + last.pages * kPageSize) return bad("index out of order");
    }
    index.chunks.push_back(chunk);
  }
  return {};
}

/// Offset of the first index record, and of the trailer.
Result<std::pair<std::uint64_t, std::uint64_t>> find_index(int file) {
  struct stat facts {};
  if (fstat(file, &facts) != 0) return errno_error("reading saved state");
  const Error none{Code::InvalidArgument, "STATE_NO_INDEX",
                   "the saved state ends without an index"};
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  if (facts.st_size < static_cast<off_t>(kTrailerBytes)) return none;
  std::array<std::byte, kTrailerBytes> trailer{};
  const std::uint64_t at = size - kTrailerBytes;
  TRY(read_at(file, at, trailer));
  if (std::memcmp(trailer.data(), kTrailerMagic.data(), kTrailerMagic.size()) != 0) return none;
  const auto whole = std::span<const std::byte>(trailer);
  if (load_le<std::uint32_t>(whole.subspan(16)) != crc32c(whole.first(16)))
    return Error{Code::DataLoss, "STATE_CHECKSUM", "the end of the saved state is damaged"};
  const auto first = load_le<std::uint64_t>(whole.subspan(8));
  if (first >= at) return bad("index outside of the file");
  return std::pair(first, at);
}

}  // namespace

Status write_index(RecordWriter& writer, const SavedIndex& index) {
  const std::uint64_t first = writer.offset();
  for (std::size_t at = 0; at == 0 || at < index.chunks.size();) {
    std::string bytes(8, '\0');
    store_le<std::uint64_t>(std::as_writable_bytes(std::span(bytes)), index.machine_offset);
    const std::size_t end = std::min(at + kEntriesPerRecord, index.chunks.size());
    for (; at < end; ++at) append_entry(bytes, index.chunks[at]);
    TRY(writer.write(RecordType::Index, std::as_bytes(std::span(bytes))));
    if (index.chunks.empty()) break;
  }
  std::array<std::byte, kTrailerBytes> trailer{};
  std::memcpy(trailer.data(), kTrailerMagic.data(), kTrailerMagic.size());
  store_le<std::uint64_t>(std::span(trailer).subspan(8), first);
  store_le<std::uint32_t>(std::span(trailer).subspan(16),
                          crc32c(std::span<const std::byte>(trailer).first(16)));
  return writer.write_plain(trailer);
}

Result<SavedIndex> read_index(int file) {
  const auto [first, end] = TRY(find_index(file));
  SavedIndex index;
  Piece piece(file, first);
  RecordReader reader(piece);
  std::string bytes;
  while (piece.offset() < end) {
    if (TRY(reader.next(bytes)) != RecordType::Index) return bad("another record in the index");
    TRY(take_entries(bytes, index));
  }
  for (const auto& chunk : index.chunks)
    if (chunk.offset >= first ||
        chunk.pages * kPageSize + 8 + kRecordHead + kRecordTail > first - chunk.offset)
      return bad("index entry outside of the file");
  if (index.machine_offset >= first) return bad("machine record outside of the file");
  return index;
}

Status check_trailer(int file) {
  TRY(find_index(file));
  return {};
}

Status check_index(const SavedIndex& index, const GuestMemory& memory) {
  for (const auto& chunk : index.chunks)
    if (!memory.contains(chunk.address, chunk.pages * kPageSize))
      return bad("memory that the machine does not have");
  return {};
}

Result<std::span<const std::byte>> read_chunk(int file, const SavedChunk& chunk,
                                              std::vector<std::byte>& record) {
  const std::size_t content = 8 + chunk.pages * kPageSize;
  record.resize(kRecordHead + content + kRecordTail);
  const auto where = [&] {
    std::array<char, 20> text{};
    const auto end = std::to_chars(text.begin(), text.end(), chunk.address, 16).ptr;
    return "memory at 0x" + std::string(text.begin(), end);
  };
  auto got = read_at(file, chunk.offset, record);
  if (!got.ok() && got.error().reason() == "FILE_TRUNCATED")
    return Error{Code::DataLoss, "STATE_TRUNCATED", where() + " is missing from the saved state"};
  if (!got.ok()) return std::move(got).error().during("reading " + where());
  const auto whole = std::span<const std::byte>(record);
  const bool sound = static_cast<RecordType>(whole[0]) == RecordType::Memory &&
                     load_le<std::uint32_t>(whole.subspan(1)) == content &&
                     load_le<std::uint64_t>(whole.subspan(kRecordHead)) == chunk.address &&
                     load_le<std::uint32_t>(whole.subspan(kRecordHead + content)) ==
                         crc32c(whole.first(kRecordHead + content));
  if (!sound)
    return Error{Code::DataLoss, "STATE_CHECKSUM", where() + " is damaged in the saved state"};
  return whole.subspan(kRecordHead + 8, chunk.pages * kPageSize);
}

Result<std::string> read_record_at(int file, std::uint64_t offset, RecordType type) {
  Piece piece(file, offset);
  RecordReader reader(piece);
  std::string bytes;
  if (TRY(reader.next(bytes)) != type) return bad("another record where the index points");
  return bytes;
}

}  // namespace reeve::core
