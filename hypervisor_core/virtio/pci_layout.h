// hypervisor_core/virtio/pci_layout.h - numbers of the PCI transport (virtio 1.2, 4.1.4 and 2.1).
#pragma once

#include <cstdint>

namespace reeve::core::virtio::pci_layout {

/// Parts of BAR 0.
inline constexpr std::uint32_t kCommon = 0x0000, kCommonSize = 60;
inline constexpr std::uint32_t kIsr = 0x1000;
inline constexpr std::uint32_t kDevice = 0x2000, kDeviceSize = 0x1000;
inline constexpr std::uint32_t kNotify = 0x3000;
inline constexpr std::uint8_t kNotifyStride = 4;

inline constexpr std::uint8_t kVendorCapability = 0x09;
inline constexpr std::uint8_t kCommonType = 1, kNotifyType = 2, kIsrType = 3, kDeviceType = 4,
                              kWindowType = 5;
/// Fields of the window capability (VIRTIO_PCI_CAP_PCI_CFG), from its start.
inline constexpr std::uint8_t kWindowBar = 4, kWindowOffset = 8, kWindowLength = 12,
                              kWindowBytes = 16;

inline constexpr std::uint16_t kNoVector = 0xffff;
inline constexpr std::uint8_t kInterruptQueue = 1, kInterruptConfig = 2;

inline constexpr std::uint8_t kStatusDriverOk = 4, kStatusFeaturesOk = 8, kStatusNeedsReset = 0x40;
/// Bits a driver may set.
inline constexpr std::uint8_t kStatusDriverBits = 0x8f;

enum CommonRegister : std::uint64_t {
  kDeviceFeatureSelect = 0,
  kDeviceFeature = 4,
  kDriverFeatureSelect = 8,
  kDriverFeature = 12,
  kConfigVector = 16,
  kQueueCount = 18,
  kDeviceStatus = 20,
  kConfigGeneration = 21,
  kQueueSelect = 22,
  kQueueSize = 24,
  kQueueVector = 26,
  kQueueEnable = 28,
  kQueueNotifyOffset = 30,
  kQueueDescriptors = 32,
  kQueueAvailable = 40,
  kQueueUsed = 48,
};

}  // namespace reeve::core::virtio::pci_layout
