// hypervisor_core/accel/flat_segments.h - the flat segments every loader and probe starts from.
#pragma once

#include "hypervisor_core/accel/cpu_state.h"

namespace reeve::core::accel {

enum class CodeSize : std::uint8_t { Bits32, Bits64 };

constexpr Segment flat_code(std::uint16_t selector, CodeSize size) {
  return {.base = 0,
          .limit = 0xffffffff,
          .selector = selector,
          .type = 0xb,  // execute, read, accessed
          .present = 1,
          .default_big = size == CodeSize::Bits32,
          .code_or_data = 1,
          .long_mode = size == CodeSize::Bits64,
          .granularity = 1};
}

constexpr Segment flat_data(std::uint16_t selector) {
  return {.base = 0,
          .limit = 0xffffffff,
          .selector = selector,
          .type = 0x3,  // read, write, accessed
          .present = 1,
          .default_big = 1,
          .code_or_data = 1,
          .granularity = 1};
}

/// A busy task segment, which the processor insists on.
constexpr Segment task_segment(std::uint16_t selector, std::uint64_t base) {
  return {.base = base, .limit = 0x67, .selector = selector, .type = 0xb, .present = 1};
}

/// The 8-byte descriptor of a segment, for the table in memory that goes with it.
constexpr std::uint64_t descriptor_of(const Segment& s) {
  const std::uint64_t limit = s.granularity != 0 ? s.limit >> 12 : s.limit;
  return (limit & 0xffff) | (s.base & 0xffffff) << 16 | std::uint64_t{s.type} << 40 |
         std::uint64_t{s.code_or_data} << 44 | std::uint64_t{s.privilege} << 45 |
         std::uint64_t{s.present} << 47 | (limit >> 16 & 0xf) << 48 |
         std::uint64_t{s.available} << 52 | std::uint64_t{s.long_mode} << 53 |
         std::uint64_t{s.default_big} << 54 | std::uint64_t{s.granularity} << 55 |
         (s.base >> 24 & 0xff) << 56;
}

}  // namespace reeve::core::accel
