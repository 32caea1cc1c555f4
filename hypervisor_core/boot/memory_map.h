// hypervisor_core/boot/memory_map.h - the map a guest is told: what is RAM and what is taken.
#pragma once

#include <cstdint>
#include <vector>

#include "hypervisor_core/memory/guest_memory.h"

namespace reeve::core::boot {

/// Types of the e820 map (ACPI 6.4, 15.1); PVH and Multiboot use the same numbers.
enum class MapType : std::uint32_t { Usable = 1, Reserved = 2, AcpiTables = 3 };

struct MapEntry {
  Gpa base = 0;
  std::uint64_t size = 0;
  MapType type = MapType::Usable;
  bool operator==(const MapEntry&) const = default;
};

/// RAM without the tables below 1 MiB, plus the ECAM window as reserved. Ascending.
std::vector<MapEntry> memory_map(const GuestMemory& memory);

}  // namespace reeve::core::boot
