// base/bytes.h - little- and big-endian loads and stores in byte ranges, bounds checked by the
// caller.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace reeve {

template <std::unsigned_integral T>
constexpr T byte_swap(T value) {
  T out = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out = static_cast<T>(sizeof(T) == 1 ? value : static_cast<T>(out << 8) | (value & 0xff));
    value = static_cast<T>(sizeof(T) == 1 ? value : value >> 8);
  }
  return out;
}

/// `bytes` holds at least sizeof(T).
template <std::unsigned_integral T>
T load_le(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return std::endian::native == std::endian::little ? value : byte_swap(value);
}
template <std::unsigned_integral T>
T load_be(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return std::endian::native == std::endian::big ? value : byte_swap(value);
}
template <std::unsigned_integral T>
void store_le(std::span<std::byte> bytes, T value) {
  if constexpr (std::endian::native != std::endian::little) value = byte_swap(value);
  std::memcpy(bytes.data(), &value, sizeof value);
}
template <std::unsigned_integral T>
void store_be(std::span<std::byte> bytes, T value) {
  if constexpr (std::endian::native != std::endian::big) value = byte_swap(value);
  std::memcpy(bytes.data(), &value, sizeof value);
}

}  // namespace reeve
