// hypervisor_core/vm/saved_stream.h - the records of a saved machine: type, length, bytes,
// checksum.
//
// The same stream goes into save files and, later, over the wire to another host. A reader trusts
// nothing in it: lengths are bounded, checksums compared, order and end enforced by vm/snapshot.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace reeve::core {

class StateSink {
 public:
  virtual ~StateSink() = default;
  virtual Status write(std::span<const std::byte> bytes) = 0;
};

class StateSource {
 public:
  virtual ~StateSource() = default;
  /// Fills all of `out`; DataLoss/STATE_TRUNCATED.
  virtual Status read(std::span<std::byte> out) = 0;
};

/// A file or socket, read and written in sequence.
class FdSink final : public StateSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}  ///< the descriptor outlives it
  Status write(std::span<const std::byte> bytes) override;

 private:
  const int fd_;
};
class FdSource final : public StateSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}  ///< the descriptor outlives it
  Status read(std::span<std::byte> out) override;

 private:
  const int fd_;
};

/// CRC-32C (Castagnoli) of `bytes`, continued from `before`.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

enum class RecordType : std::uint8_t { Header = 1, Memory = 2, Machine = 3, Index = 4 };
inline constexpr std::size_t kMaxRecord = 8u << 20;

class RecordWriter {
 public:
  /// `sink` outlives the writer; `offset` bytes are in it already.
  explicit RecordWriter(StateSink& sink, std::uint64_t offset = 0) : sink_(sink), offset_(offset) {}
  /// Magic and format version; first of all.
  Status begin();
  /// `head` and `tail` together are the record's bytes.
  Status write(RecordType type, std::span<const std::byte> head,
               std::span<const std::byte> tail = {});
  /// Bytes that are no record.
  Status write_plain(std::span<const std::byte> bytes);
  /// Bytes in the sink.
  std::uint64_t offset() const { return offset_; }

 private:
  StateSink& sink_;
  std::uint64_t offset_;
};

class RecordReader {
 public:
  explicit RecordReader(StateSource& source) : source_(source) {}  ///< outlives the reader
  /// InvalidArgument/STATE_FORMAT, FailedPrecondition/STATE_VERSION.
  Status begin();
  /// DataLoss/STATE_TRUNCATED, STATE_CHECKSUM; InvalidArgument/STATE_FORMAT.
  Result<RecordType> next(std::string& bytes);

 private:
  StateSource& source_;
};

}  // namespace reeve::core
