// hypervisor_core/block/inflate.h - unpacks one compressed cluster; the only user of zlib.
#pragma once

#include <cstddef>
#include <span>

namespace reeve::core {

/// Raw deflate with a window of 4 KiB, as qcow2 has it. True when it fills `out` exactly.
bool inflate_raw(std::span<const std::byte> packed, std::span<std::byte> out);

}  // namespace reeve::core
