// hypervisor_core/memory/layout.h - the guest-physical address map. docs/guide/memory-map.md draws
// it.
//
//   0            RAM, up to 3 GiB (640 KiB..1 MiB is RAM too, but reserved for tables in the e820
//   map) 0xC000'0000  32-bit PCI window (BARs below 4 GiB) 0xE000'0000  ECAM, 1 MiB per bus
//   0xFEC0'0000  IOAPIC; 0xFEE0'0000 local APICs
//   0xFEF0'0000  pages the accelerator needs for itself
//   0xFFC0'0000  room for firmware
//   4 GiB        the rest of RAM, then the 64-bit PCI window
#pragma once

#include <cstdint>
#include <vector>

#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core {

inline constexpr std::uint64_t kMiB = 1ULL << 20;
inline constexpr std::uint64_t kGiB = 1ULL << 30;

inline constexpr Gpa kLowRamLimit = 3 * kGiB;
inline constexpr MemoryRange kPciWindow32{0xC0000000, 0x20000000};
inline constexpr MemoryRange kEcam{0xE0000000, 0x00100000};  ///< bus 0 only
inline constexpr MemoryRange kIoApic{0xFEC00000, 0x1000};
inline constexpr MemoryRange kLocalApic{0xFEE00000, 0x1000};
inline constexpr Gpa kAcceleratorPages = 0xFEF00000;  ///< 4 pages
inline constexpr Gpa kFirmware = 0xFFC00000;
inline constexpr Gpa kHighRam = 4 * kGiB;
inline constexpr std::uint64_t kPciWindow64Size = 64 * kGiB;

inline constexpr std::uint64_t kMinRam = 1 * kMiB;
inline constexpr std::uint64_t kMaxRam = 4096 * kGiB;

/// The regions of a machine with `bytes` of RAM (a multiple of the page size).
inline std::vector<MemoryRange> ram_layout(std::uint64_t bytes) {
  if (bytes <= kLowRamLimit) return {{0, bytes}};
  return {{0, kLowRamLimit}, {kHighRam, bytes - kLowRamLimit}};
}

/// The 64-bit PCI window of that machine: after RAM, on a 64 GiB boundary.
inline MemoryRange pci_window64(std::uint64_t ram_bytes) {
  const Gpa end = ram_bytes <= kLowRamLimit ? kHighRam : kHighRam + ram_bytes - kLowRamLimit;
  const Gpa base = (end + kPciWindow64Size - 1) / kPciWindow64Size * kPciWindow64Size;
  return {base, kPciWindow64Size};
}

}  // namespace reeve::core
