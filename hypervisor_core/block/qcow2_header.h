// hypervisor_core/block/qcow2_header.h - reads the header of a qcow2 image and refuses what we do
// not honour.
//
// A strict subset of docs/interop/qcow2.txt in QEMU: version 2 or 3, clusters of 512 B to 2 MiB,
// 16-bit refcounts, no encryption, no external data file, no extended L2, no internal snapshots,
// zlib the only compression, not marked dirty or corrupt. Every number is checked against the real
// size of the file before it is used. Nothing here opens another file: a backing name is only text.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace reeve::core {

inline constexpr std::uint32_t kQcow2MinClusterBits = 9;
inline constexpr std::uint32_t kQcow2MaxClusterBits = 21;
inline constexpr std::uint64_t kQcow2MaxL1Bytes = 32u << 20;
inline constexpr std::uint64_t kQcow2MaxRefcountTableBytes = 8u << 20;
inline constexpr std::uint32_t kQcow2MaxBackingName = 1023;

/// What the header says, all of it checked. Offsets and lengths in bytes unless named otherwise.
struct Qcow2Facts {
  std::uint32_t version = 0;
  std::uint32_t cluster_bits = 0;
  std::uint64_t virtual_size = 0;  ///< a multiple of 512
  std::uint64_t file_size = 0;     ///< when it was read
  std::uint64_t l1_offset = 0;
  std::uint32_t l1_entries = 0;
  std::uint64_t refcount_table_offset = 0;
  std::uint32_t refcount_table_clusters = 0;
  std::uint64_t incompatible_features = 0;  ///< always 0 in an image we accept
  std::uint64_t compatible_features = 0;
  std::uint64_t autoclear_features = 0;
  std::uint32_t header_length = 0;
  std::string backing_file{};    ///< empty: none
  std::string backing_format{};  ///< of the header extension; empty when the image does not say

  std::uint64_t cluster_size() const { return std::uint64_t{1} << cluster_bits; }
};

/// Reads and checks the header of the regular file or block device `fd`. Does not move its
/// position.
///
/// InvalidArgument: QCOW2_MAGIC, QCOW2_VERSION, QCOW2_CLUSTER_SIZE, QCOW2_SIZE, QCOW2_ENCRYPTED,
/// QCOW2_DATA_FILE, QCOW2_FEATURE (with metadata "incompatible"), QCOW2_COMPRESSION,
/// QCOW2_REFCOUNT_WIDTH, QCOW2_HEADER, QCOW2_EXTENSION, QCOW2_BACKING_NAME, QCOW2_L1,
/// QCOW2_REFCOUNT_TABLE, QCOW2_OVERLAP, QCOW2_SNAPSHOTS, DISK_NOT_A_FILE. FailedPrecondition:
/// QCOW2_DIRTY, QCOW2_CORRUPT. DataLoss/QCOW2_TRUNCATED when the file ends before what the header
/// names.
Result<Qcow2Facts> inspect_qcow2(int fd);

/// Bytes in a regular file or block device; InvalidArgument/DISK_NOT_A_FILE for anything else.
Result<std::uint64_t> disk_file_size(int fd);

}  // namespace reeve::core
