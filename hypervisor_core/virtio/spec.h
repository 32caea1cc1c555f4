// hypervisor_core/virtio/spec.h - numbers of OASIS virtio 1.2 that transports and devices share.
#pragma once

#include <cstdint>

namespace reeve::core::virtio {

/// Chapter 5.
enum DeviceId : std::uint32_t {
  kNetDevice = 1,
  kBlockDevice = 2,
  kConsoleDevice = 3,
  kEntropyDevice = 4,
  kBalloonDevice = 5,
  kVsockDevice = 19,
};

/// Feature bits of the ring and the transport (chapter 6).
inline constexpr std::uint64_t kRingIndirect = std::uint64_t{1} << 28;
inline constexpr std::uint64_t kRingEventIndex = std::uint64_t{1} << 29;
inline constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32;
/// What every device of ours offers besides its own bits.
inline constexpr std::uint64_t kCommonFeatures = kRingIndirect | kRingEventIndex | kVersion1;

/// Largest ring we offer. Bounds what one queue can make the host allocate.
inline constexpr std::uint16_t kMaxQueueSize = 1024;
/// Largest sum of all lengths in one chain (section 2.7.5.2 allows 2^32).
inline constexpr std::uint64_t kMaxChainBytes = 0xffff'ffff;

/// Descriptor flags (2.7.5), ring flags (2.7.6, 2.7.8).
inline constexpr std::uint16_t kDescriptorNext = 1;
inline constexpr std::uint16_t kDescriptorWrite = 2;
inline constexpr std::uint16_t kDescriptorIndirect = 4;
inline constexpr std::uint16_t kAvailableNoInterrupt = 1;
inline constexpr std::uint16_t kUsedNoNotify = 1;

/// A descriptor as it lies in guest memory.
struct Descriptor {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  std::uint16_t flags = 0;
  std::uint16_t next = 0;
};
static_assert(sizeof(Descriptor) == 16);

}  // namespace reeve::core::virtio
