// hypervisor_core/pci/config_space.h - the 256 bytes of PCI configuration space of one function.
// Source: PCI Local Bus 3.0, chapter 6. Every bit is read-only until allow_writes() says otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"

namespace reeve::core::pci {

struct Identity {
  std::uint16_t vendor = 0, device = 0;
  std::uint16_t subsystem_vendor = 0, subsystem = 0;
  std::uint32_t class_code = 0;  ///< class, subclass, interface
  std::uint8_t revision = 0;
};

enum Register : std::uint16_t {
  kCommand = 0x04,
  kStatus = 0x06,
  kBar0 = 0x10,
  kCapabilities = 0x34,
};
inline constexpr std::uint16_t kCommandMemory = 2, kCommandMaster = 4, kCommandNoInterrupt = 0x400;

/// Not thread-safe; the root's lock guards it.
class ConfigSpace {
 public:
  static constexpr std::size_t kSize = 256;

  explicit ConfigSpace(const Identity& identity);

  /// Appends a capability with `body` after its two header bytes; returns its offset. A broken
  /// invariant when there is no room.
  std::uint8_t add_capability(std::uint8_t id, std::span<const std::uint8_t> body);
  void allow_writes(std::uint16_t offset, std::uint32_t mask, std::size_t size);

  template <class T>
  T get(std::uint16_t offset) const {
    return load_le<T>(std::as_bytes(std::span(bytes_)).subspan(offset));
  }
  template <class T>
  void set(std::uint16_t offset, T value) {
    store_le<T>(std::as_writable_bytes(std::span(bytes_)).subspan(offset), value);
  }

  /// A guest's access; beyond the end reads as ones.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Changes only the bits the guest may change.
  void write(std::uint64_t offset, std::span<const std::byte> value);

  std::string save() const { return std::string(bytes_.begin(), bytes_.end()); }
  /// Takes only the bits a guest could have written.
  void load(std::string_view saved);

 private:
  std::array<std::uint8_t, kSize> bytes_{};
  std::array<std::uint8_t, kSize> writable_{};
  std::uint8_t next_free_ = 0x40;
  std::uint8_t last_capability_ = 0;
};

}  // namespace reeve::core::pci
