// hypervisor_core/fuzz/fuzz_console.cpp - the console with three ports and sinks of changing
// appetite.
#include "base/check.h"
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/virtio/devices/console.h"

using namespace reeve;
using namespace reeve::core;

namespace {

class Sink final : public virtio::PortSink {
 public:
  std::size_t guest_wrote(std::span<const std::byte> bytes) override {
    return ++calls_ % 3 == 0 ? bytes.size() / 2 : bytes.size();
  }

 private:
  unsigned calls_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  Sink console, agent, other;
  auto device = virtio::Console::create({{.is_console = true, .sink = &console},
                                         {.name = "org.qemu.guest_agent.0", .sink = &agent},
                                         {.name = "other", .sink = &other}});
  REEVE_CHECK(device.ok());
  device.value()->set_host_open(1, true);
  device.value()->send(0, input.take(input.number<std::uint8_t>()));
  fuzz::DeviceRun(*device.value(), fuzz::shared_memory()).play(input);
  return 0;
}
