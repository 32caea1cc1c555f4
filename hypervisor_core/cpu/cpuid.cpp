#include "hypervisor_core/cpu/cpuid.h"

#include <algorithm>
#include <bit>

namespace reeve::core::cpu {
namespace {

using accel::CpuidLeaf;

constexpr std::uint32_t kVmx = 1u << 5, kHypervisor = 1u << 31;  // leaf 1, ecx
constexpr std::uint32_t kHyperThreading = 1u << 28;              // leaf 1, edx
constexpr std::uint32_t kSvm = 1u << 2;                          // leaf 0x80000001, ecx
constexpr std::uint32_t kLevelThread = 1, kLevelCore = 2;

constexpr std::uint32_t set_bits(std::uint32_t value, unsigned low, unsigned count,
                                 std::uint32_t field) {
  const std::uint32_t mask = ((1u << count) - 1) << low;
  return (value & ~mask) | (field << low & mask);
}

/// How caches (leaf 4, leaf 0x8000001D) are shared: levels 1 and 2 by one core, 3 by all.
void shape_cache(CpuidLeaf& leaf, std::uint32_t vcpus, bool intel) {
  const std::uint32_t type = leaf.eax & 0x1f, level = leaf.eax >> 5 & 7;
  if (type == 0) return;
  const std::uint32_t sharing = level >= 3 ? std::bit_ceil(vcpus) - 1 : 0;
  leaf.eax = set_bits(leaf.eax, 14, 12, sharing);
  if (intel) leaf.eax = set_bits(leaf.eax, 26, 6, std::min(std::bit_ceil(vcpus) - 1, 63u));
}

void shape_leaf(CpuidLeaf& leaf, std::uint32_t id, std::uint32_t vcpus) {
  switch (leaf.function) {
    case 1:
      leaf.ebx = set_bits(set_bits(leaf.ebx, 24, 8, id), 16, 8, std::min(vcpus, 255u));
      leaf.ecx = (leaf.ecx & ~kVmx) | kHypervisor;
      leaf.edx = vcpus > 1 ? leaf.edx | kHyperThreading : leaf.edx & ~kHyperThreading;
      break;
    case 4: shape_cache(leaf, vcpus, true); break;
    case 0xa: leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = 0; break;
    case 0x80000001: leaf.ecx &= ~kSvm; break;
    case 0x80000008:
      leaf.ecx = vcpus > 1 ? ((vcpus - 1) & 0xff) |
                                 static_cast<std::uint32_t>(std::bit_width(vcpus - 1)) << 12
                           : 0;
      break;
    case 0x8000001d: shape_cache(leaf, vcpus, false); break;
    case 0x8000001e:
      leaf.eax = id;
      leaf.ebx = set_bits(leaf.ebx, 0, 16, id & 0xff);  // core id, one thread per core
      leaf.ecx = 0;                                     // one node
      break;
    default: break;
  }
}

/// Leaf 0xB or 0x1F: a level of threads (always one) and a level of cores.
void add_topology(std::vector<CpuidLeaf>& leaves, std::uint32_t function, std::uint32_t id,
                  std::uint32_t vcpus) {
  const auto bits = static_cast<std::uint32_t>(std::bit_width(vcpus - 1));
  const auto level = [&](std::uint32_t index, std::uint32_t shift, std::uint32_t count,
                         std::uint32_t type) {
    leaves.push_back({.function = function,
                      .index = index,
                      .index_matters = true,
                      .eax = shift,
                      .ebx = count,
                      .ecx = index | type << 8,
                      .edx = id});
  };
  level(0, 0, 1, kLevelThread);
  level(1, bits, vcpus, kLevelCore);
  level(2, 0, 0, 0);
}

}  // namespace

std::vector<CpuidLeaf> shape_cpuid(std::span<const CpuidLeaf> supported, std::uint32_t id,
                                   std::uint32_t vcpus) {
  std::vector<CpuidLeaf> out;
  bool has_b = false, has_1f = false;
  for (auto leaf : supported) {
    if (leaf.function == 0xb || leaf.function == 0x1f) {
      (leaf.function == 0xb ? has_b : has_1f) = true;
      continue;
    }
    shape_leaf(leaf, id, vcpus);
    out.push_back(leaf);
  }
  if (has_b) add_topology(out, 0xb, id, vcpus);
  if (has_1f) add_topology(out, 0x1f, id, vcpus);
  std::stable_sort(out.begin(), out.end(), [](const CpuidLeaf& a, const CpuidLeaf& b) {
    return a.function != b.function ? a.function < b.function : a.index < b.index;
  });
  return out;
}

}  // namespace reeve::core::cpu
