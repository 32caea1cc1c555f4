// hypervisor_core/vm/saved_index.h - where in a saved file its memory is, for reading it out of
// order.
//
// A stream ends with its machine record; a file goes on with index records, which name every memory
// record, and a trailer of fixed size, which says where they begin. docs/guide/saved-state.md draws
// it. Nothing in a file is trusted: an index that names anything but whole pages of the machine's
// memory, once each and inside the file, is refused.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "hypervisor_core/memory/guest_memory.h"
#include "hypervisor_core/vm/saved_stream.h"

namespace reeve::core {

/// A memory record.
struct SavedChunk {
  Gpa address = 0;
  std::uint64_t offset = 0;  ///< of the record in the file
  std::uint64_t pages = 0;
};

struct SavedIndex {
  std::uint64_t machine_offset = 0;
  std::vector<SavedChunk> chunks{};  ///< ascending by address, disjoint
};

/// After the machine record.
Status write_index(RecordWriter& writer, const SavedIndex& index);

/// InvalidArgument/STATE_NO_INDEX when the file does not end with a trailer (a stream, or cut
/// short), STATE_FORMAT; DataLoss/STATE_TRUNCATED, STATE_CHECKSUM.
Result<SavedIndex> read_index(int file);

/// That the file was written to its end: it has a trailer. Reads nothing else; errors of
/// read_index().
Status check_trailer(int file);

/// InvalidArgument/STATE_FORMAT unless every chunk is memory of the machine.
Status check_index(const SavedIndex& index, const GuestMemory& memory);

/// The pages of a chunk, in `record`, which is reused. DataLoss/STATE_TRUNCATED, STATE_CHECKSUM,
/// named with their address.
Result<std::span<const std::byte>> read_chunk(int file, const SavedChunk& chunk,
                                              std::vector<std::byte>& record);

/// The record at `offset`.
Result<std::string> read_record_at(int file, std::uint64_t offset, RecordType type);

}  // namespace reeve::core
