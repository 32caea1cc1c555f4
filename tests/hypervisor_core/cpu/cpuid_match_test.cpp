#include "hypervisor_core/cpu/cpuid_match.h"

#include <functional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace reeve::core::cpu {
namespace {

using accel::CpuidLeaf;
using Leaves = std::vector<CpuidLeaf>;

constexpr std::uint32_t kGenu = 0x756e6547, kIneI = 0x49656e69, kNtel = 0x6c65746e;
constexpr std::uint32_t kAuth = 0x68747541, kEnti = 0x69746e65, kCamd = 0x444d4163;

/// A processor with AVX-512.
Leaves host() {
  return {{.function = 0, .eax = 0x1f, .ebx = kGenu, .ecx = kNtel, .edx = kIneI},
          {.function = 1, .eax = 0x806f8, .ecx = 1u << 28 | 1u << 31, .edx = 1},
          {.function = 7, .index = 0, .index_matters = true, .ebx = 1u << 16 | 1u << 5, .ecx = 4},
          {.function = 0xd, .index = 0, .index_matters = true, .eax = 0xe7},
          {.function = 0xd, .index = 2, .index_matters = true, .eax = 256, .ebx = 576},
          {.function = 0xd, .index = 9, .index_matters = true, .eax = 8, .ebx = 2688},
          {.function = 0x40000000, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d},
          {.function = 0x40000001, .eax = 1u << 3},
          {.function = 0x80000008, .eax = 0x302e}};
}

CpuidLeaf& at(Leaves& leaves, std::uint32_t function, std::uint32_t index = 0) {
  for (auto& leaf : leaves)
    if (leaf.function == function && leaf.index == index) return leaf;
  FAIL("no such leaf");
  return leaves.front();
}

/// What is said of a guest that was promised `change` more than this host has.
std::string refusal(const std::function<void(Leaves&)>& change) {
  Leaves promised = host();
  change(promised);
  const auto matched = match_cpuid(promised, host());
  if (matched.ok()) return "";
  CHECK(matched.error().code() == Code::FailedPrecondition);
  CHECK(matched.error().reason() == "CPU_FEATURE");
  CHECK_FALSE(matched.error().remedy().empty());
  return matched.error().message();
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a guest goes on where it was, and where there is more", "[cpuid]") {
  CHECK(match_cpuid(host(), host()).ok());
  CHECK(refusal([](Leaves& l) { at(l, 7).ebx = 0; }).empty());
  CHECK(refusal([](Leaves& l) { at(l, 0xd).eax = 7; }).empty());
  CHECK(refusal([](Leaves& l) { at(l, 0x80000008).eax = 0x3024; }).empty());
  CHECK(refusal([](Leaves& l) { l.pop_back(); }).empty());
}

TEST_CASE("what only informs may differ: model, caches, topology, frequencies", "[cpuid]") {
  CHECK(refusal([](Leaves& l) {
          at(l, 1).eax = 0x50654;
          at(l, 1).ebx = 0x7000800;
          l.push_back({.function = 4, .index = 3, .index_matters = true, .eax = 0xffff});
          l.push_back({.function = 0x16, .eax = 2400});
          l.push_back({.function = 0x80000002, .eax = 0x65746e49});
        }).empty());
  // Bits that say what is absent.
  CHECK(refusal([](Leaves& l) { at(l, 7).ebx |= 1u << 13 | 1u << 6; }).empty());
}

TEST_CASE("one feature bit too many is refused by its leaf, register, bit and name", "[cpuid]") {
  CHECK(has(refusal([](Leaves& l) { at(l, 7).ebx |= 1u << 31; }),
            "avx512vl (CPUID leaf 0x7.0 ebx bit 31)"));
  CHECK(has(refusal([](Leaves& l) { at(l, 1).ecx |= 1u << 25; }),
            "aes (CPUID leaf 0x1.0 ecx bit 25)"));
  CHECK(has(refusal([](Leaves& l) { at(l, 0x40000001).eax |= 1u << 7; }),
            "pv_unhalt (CPUID leaf 0x40000001.0 eax bit 7)"));
  CHECK(has(refusal([](Leaves& l) { at(l, 0xd).eax |= 1u << 17; }),
            "xsave-tilecfg (CPUID leaf 0xd.0 eax bit 17)"));
  CHECK(has(refusal([](Leaves& l) { at(l, 1).edx |= 1u << 10; }), ": CPUID leaf 0x1.0 edx bit 10"));
}

TEST_CASE("a leaf that this host does not have offers nothing", "[cpuid]") {
  CHECK(has(refusal([](Leaves& l) {
              l.push_back({.function = 0x80000001, .ecx = 1u << 8, .edx = 1u << 27});
            }),
            "3dnowprefetch (CPUID leaf 0x80000001.0 ecx bit 8), rdtscp"));
  CHECK(has(refusal([](Leaves& l) {
              l.push_back({.function = 7, .index = 1, .index_matters = true, .eax = 1u << 4});
            }),
            "avx_vnni (CPUID leaf 0x7.1 eax bit 4)"));
  // An index that is none is not a way around the comparison.
  CHECK(has(
      refusal([](Leaves& l) { l.insert(l.begin(), {.function = 7, .index = 5, .ebx = 1u << 31}); }),
      "avx512vl"));
}

TEST_CASE("a long list of features is cut short, and says so", "[cpuid]") {
  const auto text = refusal([](Leaves& l) { at(l, 7).edx = 0xff000000; });
  CHECK(has(text, "amx_tile"));
  CHECK(has(text, "and 4 more"));
}

TEST_CASE("wider addresses, another XSAVE layout, vendor or hypervisor are refused by name",
          "[cpuid]") {
  CHECK(has(refusal([](Leaves& l) { at(l, 0x80000008).eax = 0x3034; }),
            "52 bits of physical addresses (CPUID leaf 0x80000008.0 eax; here 46)"));
  CHECK(has(refusal([](Leaves& l) { at(l, 0x80000008).eax = 0x392e; }),
            "57 bits of linear addresses"));
  CHECK(has(refusal([](Leaves& l) { at(l, 0xd, 9).ebx = 2432; }),
            "the layout in CPUID leaf 0xd.9 (8 bytes at 2432; here 8 at 2688)"));
  CHECK(has(refusal([](Leaves& l) {
              at(l, 0).ebx = kAuth;
              at(l, 0).edx = kEnti;
              at(l, 0).ecx = kCamd;
            }),
            "the vendor 'AuthenticAMD' (CPUID leaf 0x0.0; here it is 'GenuineIntel')"));
  CHECK(
      has(refusal([](Leaves& l) { at(l, 0x40000000).ebx = 0x7263694d; }), "the hypervisor 'Micr"));
}

}  // namespace reeve::core::cpu
