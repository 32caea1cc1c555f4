#include "hypervisor_core/pci/config_space.h"

#include "base/check.h"

namespace reeve::core::pci {

ConfigSpace::ConfigSpace(const Identity& identity) {
  set<std::uint16_t>(0x00, identity.vendor);
  set<std::uint16_t>(0x02, identity.device);
  set<std::uint32_t>(0x08, identity.class_code << 8 | identity.revision);
  set<std::uint16_t>(0x2c, identity.subsystem_vendor);
  set<std::uint16_t>(0x2e, identity.subsystem);
  allow_writes(kCommand, kCommandMemory | kCommandMaster | kCommandNoInterrupt, 2);
  allow_writes(0x0c, 0xff, 1);  // cache line size: remembered, means nothing
  allow_writes(0x3c, 0xff, 1);  // interrupt line: the same
}

std::uint8_t ConfigSpace::add_capability(std::uint8_t id, std::span<const std::uint8_t> body) {
  const std::uint8_t at = next_free_;
  REEVE_CHECK(at + 2 + body.size() <= kSize);
  set<std::uint16_t>(kStatus, get<std::uint16_t>(kStatus) | 0x10);  // has a capability list
  bytes_[last_capability_ == 0 ? std::size_t{kCapabilities} : last_capability_ + std::size_t{1}] =
      at;
  bytes_[at] = id;
  for (std::size_t i = 0; i < body.size(); ++i) bytes_[at + 2 + i] = body[i];
  last_capability_ = at;
  next_free_ = static_cast<std::uint8_t>((at + 2 + body.size() + 3) & ~std::size_t{3});
  return at;
}

void ConfigSpace::allow_writes(std::uint16_t offset, std::uint32_t mask, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i)
    writable_[offset + i] = static_cast<std::uint8_t>(mask >> (8 * i));
}

void ConfigSpace::read(std::uint64_t offset, std::span<std::byte> out) const {
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = offset + i < kSize ? static_cast<std::byte>(bytes_[offset + i]) : std::byte{0xff};
}

void ConfigSpace::write(std::uint64_t offset, std::span<const std::byte> value) {
  for (std::size_t i = 0; i < value.size() && offset + i < kSize; ++i) {
    auto& byte = bytes_[offset + i];
    const auto mask = writable_[offset + i];
    byte = static_cast<std::uint8_t>((byte & ~mask) | (std::to_integer<unsigned>(value[i]) & mask));
  }
}

void ConfigSpace::load(std::string_view saved) {
  write(0, std::as_bytes(std::span(saved.data(), std::min(saved.size(), kSize))));
}

}  // namespace reeve::core::pci
