// hypervisor_core/fuzz/fuzz_net.cpp - the network card, with frames of the input arriving
// meanwhile.
#include "base/check.h"
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/virtio/devices/net.h"

using namespace reeve;
using namespace reeve::core;

namespace {

/// Gives frames made of the input, and takes none every now and then.
class FuzzBackend final : public NetBackend {
 public:
  explicit FuzzBackend(std::span<const std::byte> script) : script_(script) {}
  std::string_view kind() const override { return "fuzz"; }
  std::uint16_t pairs() const override { return 2; }
  Offloads offloads() const override { return {.checksum = true, .tso4 = true, .tso6 = true}; }
  NetOutcome send(std::uint16_t, std::span<const iovec> frame) override {
    for (const auto& range : frame)
      sum_ += std::to_integer<unsigned>(static_cast<std::byte*>(range.iov_base)[range.iov_len - 1]);
    const auto what = next();
    return what < 200   ? NetOutcome::Done
           : what < 240 ? NetOutcome::WouldBlock
           : what < 255 ? NetOutcome::Dropped
                        : NetOutcome::Lost;
  }
  NetOutcome receive(std::uint16_t, std::span<const iovec> room, std::size_t& bytes) override {
    const auto what = next();
    if (what == 0) return NetOutcome::WouldBlock;
    if (what == 255) return NetOutcome::Lost;
    if (what > 240) return NetOutcome::Dropped;
    std::size_t there = 0;
    for (const auto& range : room) there += range.iov_len;
    bytes = std::min<std::size_t>(there, std::size_t{what} * what * 2);
    std::size_t left = bytes;
    for (const auto& range : room)
      for (std::size_t i = 0; i < range.iov_len && left > 0; ++i, --left)
        static_cast<std::byte*>(range.iov_base)[i] = static_cast<std::byte>(i);
    return NetOutcome::Done;
  }
  int fd(std::uint16_t) const override { return -1; }

 private:
  std::uint8_t next() {
    if (script_.empty()) return 0;
    const auto value = std::to_integer<std::uint8_t>(script_.front());
    script_ = script_.subspan(1);
    return value;
  }
  std::span<const std::byte> script_;
  unsigned sum_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  FuzzBackend backend(input.take(input.number<std::uint8_t>()));
  auto device = virtio::Net::create(backend, {.mac = {2, 0, 0, 0, 0, 1}});
  REEVE_CHECK(device.ok());
  fuzz::DeviceRun(*device.value(), fuzz::shared_memory()).play(input);
  return 0;
}
