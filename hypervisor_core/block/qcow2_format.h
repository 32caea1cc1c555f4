// hypervisor_core/block/qcow2_format.h - numbers of the qcow2 format (QEMU,
// docs/interop/qcow2.txt).
#pragma once

#include <cstdint>

namespace reeve::core::qcow2 {

inline constexpr std::uint32_t kMagic =
    0x514649fb;  // "QFI\xfb", big-endian as everything in the file
inline constexpr std::uint32_t kHeaderLength2 = 72;
inline constexpr std::uint32_t kHeaderLength3 = 104;
inline constexpr std::uint32_t kRefcountOrder = 4;  // 16-bit refcounts
inline constexpr std::uint64_t kMaxVirtualSize = std::uint64_t{1} << 56;

inline constexpr std::uint64_t kIncompatibleDirty = 1u << 0;
inline constexpr std::uint64_t kIncompatibleCorrupt = 1u << 1;
inline constexpr std::uint64_t kIncompatibleDataFile = 1u << 2;
inline constexpr std::uint64_t kIncompatibleCompression = 1u << 3;

inline constexpr std::uint32_t kExtensionEnd = 0;
inline constexpr std::uint32_t kExtensionBackingFormat = 0xe2792aca;
inline constexpr std::uint32_t kExtensionDataFile = 0x44415441;
inline constexpr std::uint32_t kExtensionEncryption = 0x0537be77;

/// L1 and L2 entries.
inline constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;      // refcount is exactly one
inline constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62;  // L2 only
inline constexpr std::uint64_t kZero = 1;                             // L2 only, version 3
inline constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00;      // bits 9 to 55

/// L2 entries in one cluster.
constexpr std::uint64_t l2_entries(std::uint32_t cluster_bits) {
  return std::uint64_t{1} << (cluster_bits - 3);
}
/// Virtual bytes that one L1 entry reaches.
constexpr std::uint64_t l1_reach(std::uint32_t cluster_bits) {
  return l2_entries(cluster_bits) << cluster_bits;
}
/// 16-bit refcounts in one cluster.
constexpr std::uint64_t refcounts_per_block(std::uint32_t cluster_bits) {
  return std::uint64_t{1} << (cluster_bits - 1);
}

}  // namespace reeve::core::qcow2
