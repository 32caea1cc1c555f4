#include "hypervisor_core/cpu/cpuid.h"

#include <algorithm>

#include <catch2/catch.hpp>

namespace reeve::core::cpu {
namespace {

using accel::CpuidLeaf;

std::vector<CpuidLeaf> supported() {
  return {{.function = 0, .eax = 0x1f},
          {.function = 1, .eax = 0x806f8, .ecx = 1u << 5 | 1u << 13, .edx = 1},
          {.function = 4, .index = 0, .index_matters = true, .eax = 1u << 5 | 1},
          {.function = 4, .index = 3, .index_matters = true, .eax = 3u << 5 | 3 | 0xffffc000},
          {.function = 0xa, .eax = 0x7300402},
          {.function = 0xb, .index = 0, .index_matters = true, .eax = 7, .ebx = 99, .edx = 44},
          {.function = 0x1f, .index = 0, .index_matters = true, .eax = 7, .ebx = 99, .edx = 44},
          {.function = 0x80000001, .ecx = 1u << 2 | 1},
          {.function = 0x80000008, .eax = 0x3030, .ecx = 0xffff},
          {.function = 0x8000001e, .eax = 9}};
}

CpuidLeaf leaf(const std::vector<CpuidLeaf>& leaves, std::uint32_t function,
               std::uint32_t index = 0) {
  const auto found = std::find_if(leaves.begin(), leaves.end(), [&](const CpuidLeaf& l) {
    return l.function == function && l.index == index;
  });
  REQUIRE(found != leaves.end());
  return *found;
}

}  // namespace

TEST_CASE("every vCPU sees its own id and one socket of single-threaded cores", "[cpuid]") {
  const auto leaves = shape_cpuid(supported(), 2, 4);
  CHECK(leaf(leaves, 1).ebx >> 24 == 2);
  CHECK((leaf(leaves, 1).ebx >> 16 & 0xff) == 4);
  CHECK((leaf(leaves, 1).edx >> 28 & 1) == 1);
  for (const std::uint32_t function : {0xbu, 0x1fu}) {
    CHECK(leaf(leaves, function, 0).ebx == 1);
    CHECK(leaf(leaves, function, 1).eax == 2);
    CHECK(leaf(leaves, function, 1).ebx == 4);
    CHECK(leaf(leaves, function, 1).edx == 2);
    CHECK(leaf(leaves, function, 2).ecx == 2);
  }
  CHECK((leaf(leaves, 4, 0).eax >> 14 & 0xfff) == 0);
  CHECK((leaf(leaves, 4, 3).eax >> 14 & 0xfff) == 3);
  CHECK(leaf(leaves, 0x80000008).ecx == (3 | 2 << 12));
  CHECK(leaf(leaves, 0x8000001e).eax == 2);
}

TEST_CASE("one vCPU is one processor", "[cpuid]") {
  const auto leaves = shape_cpuid(supported(), 0, 1);
  CHECK((leaf(leaves, 1).edx >> 28 & 1) == 0);
  CHECK(leaf(leaves, 0xb, 1).eax == 0);
  CHECK(leaf(leaves, 0xb, 1).ebx == 1);
  CHECK(leaf(leaves, 0x80000008).ecx == 0);
}

TEST_CASE("nested virtualisation and performance counters are hidden, the hypervisor is not",
          "[cpuid]") {
  const auto leaves = shape_cpuid(supported(), 0, 2);
  CHECK((leaf(leaves, 1).ecx & 1u << 5) == 0);
  CHECK((leaf(leaves, 1).ecx & 1u << 31) != 0);
  CHECK((leaf(leaves, 1).ecx & 1u << 13) != 0);
  CHECK((leaf(leaves, 0x80000001).ecx & 1u << 2) == 0);
  CHECK(leaf(leaves, 0xa).eax == 0);
}

}  // namespace reeve::core::cpu
