#include "hypervisor_core/boot/memory_map.h"

#include "hypervisor_core/boot/low_memory.h"

namespace reeve::core::boot {

std::vector<MapEntry> memory_map(const GuestMemory& memory) {
  std::vector<MapEntry> map;
  for (const auto& region : memory.regions()) {
    const auto& range = region.range;
    if (range.base != 0) {
      map.push_back({range.base, range.size, MapType::Usable});
      continue;
    }
    map.push_back({0, kExtendedBios, MapType::Usable});
    map.push_back({kExtendedBios, 0xa0000 - kExtendedBios, MapType::Reserved});
    map.push_back({kBiosTables.base, kBiosTables.size, MapType::Reserved});
    if (range.size > kImageFloor)
      map.push_back({kImageFloor, range.size - kImageFloor, MapType::Usable});
    map.push_back({kEcam.base, kEcam.size, MapType::Reserved});
  }
  return map;
}

}  // namespace reeve::core::boot
