// hypervisor_core/fuzz/fuzz_rng.cpp - the entropy device.
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/virtio/devices/rng.h"

using namespace reeve;
using namespace reeve::core;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  SeededRandom random(1);
  virtio::Rng device(random);
  fuzz::DeviceRun(device, fuzz::shared_memory()).play(input);
  return 0;
}
