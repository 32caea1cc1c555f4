// hypervisor_core/fuzz/fuzz_pci.cpp - configuration space, BARs, MSI-X and the virtio transport's
// registers, in front of a device with real workers: any access at any time, pause, reset, state.
#include <array>
#include <cstdio>
#include <memory>

#include "base/check.h"
#include "base/sim_loop.h"
#include "hypervisor_core/bus/bus.h"
#include "hypervisor_core/chipset/exit_ports.h"
#include "hypervisor_core/fuzz/harness.h"
#include "hypervisor_core/fuzz/input.h"
#include "hypervisor_core/fuzz/still_machine.h"
#include "hypervisor_core/memory/layout.h"
#include "hypervisor_core/pci/root.h"
#include "hypervisor_core/virtio/devices/rng.h"
#include "hypervisor_core/virtio/transport_pci.h"
#include "reeve/core/v1/pci_state.pb.h"

using namespace reeve;
using namespace reeve::core;

namespace {

struct Events final : MachineEvents {
  void raise(MachineEvent, std::uint32_t) override {}
};

struct Entropy final : Random {
  void fill(std::span<std::byte> out) override {
    for (auto& byte : out) byte = std::byte{7};
  }
};

struct Machine {
  SimWorld world{1};
  SimLoop control{world};
  std::unique_ptr<accel::Partition> partition{
      fuzz::StillAccelerator().create_partition({}).value()};
  Events events{};
  ResetControl reset_control{events};
  Bus mmio{};
  Entropy entropy{};
  virtio::Rng device{entropy};
  std::unique_ptr<virtio::TransportPci> transport{};
  pci::Root root{mmio, reset_control};

  Machine() {
    transport =
        virtio::TransportPci::create(device, {fuzz::shared_memory(), *partition, control}).value();
    REEVE_CHECK(root.add(*transport).ok());
  }
  ~Machine() {
    settle();
    transport->stop_workers();
  }
  void settle() {
    while (world.step()) {
    }
  }
};

/// Where an access goes: registers and table of the BARs, configuration of the function or others.
struct Target {
  IoDevice* device = nullptr;  ///< null: the memory bus
  std::uint64_t at = 0;
};
Target target(Machine& machine, fuzz::Input& input, std::uint8_t what) {
  const auto offset = input.number<std::uint16_t>();
  switch (what % 6) {
    case 0: return {nullptr, kPciWindow32.base + offset % 64};  // common registers
    case 1: return {nullptr, kPciWindow32.base + offset % 0x4000};
    case 2: return {nullptr, kPciWindow32.base + 0x4000 + offset % 0x2000};
    case 3: return {&machine.root.ecam(), (1u << 15) + offset % 256};
    case 4: return {&machine.root.ecam(), std::uint64_t{offset} * 16};
    default: return {&machine.root.ports(), offset % 8u};
  }
}

void save_and_load(Machine& machine, fuzz::Input& input) {
  machine.transport->stop_workers();
  v1::VirtioPciState state;
  machine.transport->save(state);
  const auto space = machine.root.save(1);
  Machine other;
  const auto changes = input.take(input.number<std::uint8_t>());
  // Fields of the fuzzer's replace or add to ours.
  (void)state.MergeFromString(
      std::string(reinterpret_cast<const char*>(changes.data()), changes.size()));
  if (!changes.empty()) {
    (void)other.transport->load(state);
  } else {
    other.root.load(1, space);
    const auto loaded = other.transport->load(state);
    if (!loaded.ok()) std::fprintf(stderr, "refused: %s\n", loaded.error().message().c_str());
    REEVE_CHECK(loaded.ok());
    REEVE_CHECK(other.transport->start_workers().ok());
  }
  REEVE_CHECK(machine.transport->start_workers().ok());
}

void step(Machine& machine, fuzz::Input& input) {
  std::array<std::byte, 8> bytes{};
  const auto what = input.number<std::uint8_t>();
  const std::size_t size = std::size_t{1} << (what >> 6);
  switch (what % 64) {
    case 60: machine.settle(); return;
    case 61: machine.transport->reset_function(); return;
    case 62: save_and_load(machine, input); return;
    case 63: {  // rings and requests
      const auto where = input.number<std::uint16_t>();
      (void)fuzz::shared_memory().write(where * 8u, input.take(input.number<std::uint8_t>()));
      return;
    }
    default: break;
  }
  const auto [device, at] = target(machine, input, what % 64 / 2);
  if (what % 2 == 0) {
    const auto out = std::span(bytes).first(size);
    device == nullptr ? machine.mmio.read(at, out) : device->read(at, out);
  } else {
    put_number(bytes, input.number<std::uint32_t>());
    const auto value = std::span<const std::byte>(bytes).first(size);
    device == nullptr ? machine.mmio.write(at, value) : device->write(at, value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  (void)fuzz::shared_memory().discard();
  Machine machine;
  std::array<std::byte, 2> decode{std::byte{6}, std::byte{0}};  // memory and bus mastering on
  machine.root.ecam().write((1u << 15) + 4, decode);
  for (int i = 0; i < 300 && !input.empty(); ++i) step(machine, input);
  return 0;
}
