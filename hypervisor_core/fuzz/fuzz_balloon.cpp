// hypervisor_core/fuzz/fuzz_balloon.cpp - the balloon on the guest's own memory.
#include "base/check.h"
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/virtio/devices/balloon.h"

using namespace reeve;
using namespace reeve::core;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  auto device = virtio::Balloon::create(fuzz::shared_memory());
  REEVE_CHECK(device.ok());
  (void)device.value()->set_target(std::uint64_t{input.number<std::uint8_t>()} << 12);
  device.value()->request_statistics();
  fuzz::DeviceRun(*device.value(), fuzz::shared_memory()).play(input);
  return 0;
}
