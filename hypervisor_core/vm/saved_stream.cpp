#include "hypervisor_core/vm/saved_stream.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

namespace reeve::core {
namespace {

constexpr std::array<char, 8> kMagic{'R', 'E', 'E', 'V', 'E', 'S', 'A', 'V'};
constexpr std::uint32_t kVersion = 1;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr auto kTable = make_table();

__attribute__((target("sse4.2"))) std::uint32_t crc32c_fast(std::span<const std::byte> bytes,
                                                            std::uint32_t crc) {
  std::uint64_t wide = crc;
  while (bytes.size() >= 8) {
    wide = __builtin_ia32_crc32di(wide, load_le<std::uint64_t>(bytes));
    bytes = bytes.subspan(8);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (const auto byte : bytes)
    crc = __builtin_ia32_crc32qi(crc, std::to_integer<unsigned char>(byte));
  return crc;
}

std::uint32_t crc32c_plain(std::span<const std::byte> bytes, std::uint32_t crc) {
  for (const auto byte : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
  return crc;
}

Error format_error(const std::string& what) {
  return Error{Code::InvalidArgument, "STATE_FORMAT", "saved state: " + what};
}

}  // namespace

Status FdSink::write(std::span<const std::byte> bytes) {
  return write_all(fd_, bytes);
}

Status FdSource::read(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::read(fd_, out.data(), out.size());
    if (got == 0) return Error{Code::DataLoss, "STATE_TRUNCATED", "the saved state ends too early"};
    if (got < 0 && errno != EINTR) return errno_error("reading saved state");
    if (got > 0) out = out.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  return ~(fast ? crc32c_fast(bytes, ~before) : crc32c_plain(bytes, ~before));
}

Status RecordWriter::begin() {
  std::array<std::byte, 12> start{};
  std::memcpy(start.data(), kMagic.data(), kMagic.size());
  store_le<std::uint32_t>(std::span(start).subspan(8), kVersion);
  return write_plain(start);
}

Status RecordWriter::write_plain(std::span<const std::byte> bytes) {
  offset_ += bytes.size();
  return sink_.write(bytes);
}

Status RecordWriter::write(RecordType type, std::span<const std::byte> head,
                           std::span<const std::byte> tail) {
  std::array<std::byte, 5> start{static_cast<std::byte>(type)};
  store_le<std::uint32_t>(std::span(start).subspan(1),
                          static_cast<std::uint32_t>(head.size() + tail.size()));
  std::array<std::byte, 4> end{};
  store_le<std::uint32_t>(end, crc32c(tail, crc32c(head, crc32c(start))));
  TRY(write_plain(start));
  TRY(write_plain(head));
  if (!tail.empty()) TRY(write_plain(tail));
  return write_plain(end);
}

Status RecordReader::begin() {
  std::array<std::byte, 12> start{};
  TRY(source_.read(start));
  if (std::memcmp(start.data(), kMagic.data(), kMagic.size()) != 0)
    return format_error("this is not one");
  if (load_le<std::uint32_t>(std::span<const std::byte>(start).subspan(8)) != kVersion)
    return Error{Code::FailedPrecondition, "STATE_VERSION", "the saved state has another version"};
  return {};
}

Result<RecordType> RecordReader::next(std::string& bytes) {
  std::array<std::byte, 5> start{};
  TRY(source_.read(start));
  const auto type = static_cast<RecordType>(start[0]);
  const std::size_t size = load_le<std::uint32_t>(std::span<const std::byte>(start).subspan(1));
  if (type < RecordType::Header || type > RecordType::Index) return format_error("unknown record");
  if (size > kMaxRecord) return format_error("a record is too long");
  bytes.resize(size);
  TRY(source_.read(std::as_writable_bytes(std::span(bytes))));
  std::array<std::byte, 4> end{};
  TRY(source_.read(end));
  if (load_le<std::uint32_t>(end) != crc32c(std::as_bytes(std::span(bytes)), crc32c(start)))
    return Error{Code::DataLoss, "STATE_CHECKSUM", "the saved state is damaged"};
  return type;
}

}  // namespace reeve::core
