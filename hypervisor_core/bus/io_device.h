// hypervisor_core/bus/io_device.h - something that answers port or memory accesses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace reeve::core {

/// Accesses come from hostile guests: any offset inside the attached range, sizes 1, 2, 4 or 8,
/// from several vCPU threads at once. A device guards itself, never blocks, never allocates by
/// guest choice.
class IoDevice {
 public:
  virtual ~IoDevice() = default;
  virtual std::string_view name() const = 0;
  /// Fills all of `out`.
  virtual void read(std::uint64_t offset, std::span<std::byte> out) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> value) = 0;
};

/// What a read of nothing gives.
inline void fill_ones(std::span<std::byte> out) {
  for (auto& byte : out) byte = std::byte{0xff};
}

/// Little-endian number of 1 to 8 bytes.
inline std::uint64_t number_of(std::span<const std::byte> value) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < value.size() && i < 8; ++i)
    out |= std::to_integer<std::uint64_t>(value[i]) << (8 * i);
  return out;
}
inline void put_number(std::span<std::byte> out, std::uint64_t value) {
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = i < 8 ? static_cast<std::byte>(value >> (8 * i)) : std::byte{0};
}

}  // namespace reeve::core
