#include "hypervisor_core/virtio/devices/rng.h"

#include <algorithm>

namespace reeve::core::virtio {

void Rng::serve(std::uint16_t /*index*/, Queue& queue) {
  while (auto chain = queue.pop())
    if (!answer(*chain).ok()) ++counters_.bad_chains;  // ~Chain hands it back, empty if it failed
  queue.signal_used();
}

Status Rng::answer(Chain& chain) {
  std::array<std::byte, kMaxRequest> buffer;
  const auto entropy = std::span(buffer).first(std::min(chain.writable_bytes(), buffer.size()));
  if (entropy.empty()) return Error{Code::InvalidArgument, "CHAIN_NOT_WRITABLE", "nothing to fill"};
  source_.fill(entropy);
  TRY(chain.write(entropy));
  counters_.bytes += entropy.size();
  return {};
}

}  // namespace reeve::core::virtio
