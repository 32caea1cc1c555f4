#include "hypervisor_core/virtio/device.h"

namespace reeve::core::virtio {

Error bad_state(std::string what) {
  return {Code::InvalidArgument, "DEVICE_STATE", std::move(what)};
}

void copy_config(std::span<const std::byte> config, std::uint32_t offset,
                 std::span<std::byte> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t at = std::size_t{offset} + i;
    out[i] = at < config.size() ? config[at] : std::byte{0};
  }
}

}  // namespace reeve::core::virtio
