// hypervisor_core/fuzz/fuzz_queue.cpp - the ring and its chains, with a device that touches every
// byte.
#include <optional>

#include "hypervisor_core/fuzz/harness.h"

using namespace reeve::core;
using namespace reeve::core::virtio;

namespace {

class EveryByte final : public Device {
 public:
  std::string_view name() const override { return "every-byte"; }
  Traits traits() const override { return {.device_id = 1, .queue_sizes = kSizes}; }
  void serve(std::uint16_t /*index*/, Queue& queue) override {
    std::vector<std::byte> bytes;
    while (auto chain = queue.pop()) {
      if (chain->readable_bytes() % 7 == 3) {
        queue.put_back(std::move(*chain));
        break;
      }
      bytes.resize(std::min<std::size_t>(chain->readable_bytes(), 1u << 16));
      chain->read_some(bytes);
      (void)chain->write_last(std::span(bytes).first(std::min<std::size_t>(bytes.size(), 1)));
      std::vector<iovec> ranges;
      chain->take_writable(chain->writable_bytes() / 2, ranges);
      for (const auto& range : ranges)
        static_cast<std::byte*>(range.iov_base)[range.iov_len - 1] = {};
      bytes.resize(std::min<std::size_t>(chain->writable_bytes(), 1u << 16));
      (void)chain->write(bytes);
      chain->rewrite(bytes.size(), bytes);
    }
    queue.signal_used();
  }

 private:
  static constexpr std::array<std::uint16_t, 2> kSizes{32, 4};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  EveryByte device;
  fuzz::DeviceRun(device, fuzz::shared_memory()).play(input);
  return 0;
}
