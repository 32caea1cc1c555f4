#include <catch2/catch.hpp>

#include "hypervisor_core/chipset/exit_ports.h"
#include "hypervisor_core/memory/layout.h"
#include "hypervisor_core/pci/msix.h"
#include "hypervisor_core/pci/root.h"
#include "reeve/core/v1/pci_state.pb.h"
#include "tests/hypervisor_core/support/fake_board.h"
#include "tests/hypervisor_core/support/fake_partition.h"

namespace reeve::core::pci {
namespace {

using test::read_number;
using test::write_number;

class Echo final : public IoDevice {
 public:
  std::string_view name() const override { return "echo"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override {
    put_number(out, offset + 1);
  }
  void write(std::uint64_t, std::span<const std::byte>) override {}
};

class TwoBars final : public Device {
 public:
  std::string_view name() const override { return "two-bars"; }
  ConfigSpace& config() override { return config_; }
  std::vector<Bar> bars() override {
    return {{.index = 0, .size = 0x1000, .target = &echo_},
            {.index = 1, .size = 0x4000, .target = &echo_}};
  }
  void bar_moved(std::uint8_t index, std::optional<Gpa> base) override { at[index] = base; }
  std::array<std::optional<Gpa>, 2> at;

 private:
  ConfigSpace config_{Identity{.vendor = 0x1af4, .device = 0x1044, .class_code = 0xff0000}};
  Echo echo_;
};

struct Bench {
  Bus mmio;
  test::FakeEvents events;
  ResetControl reset{events};
  Root root{mmio, reset};
  TwoBars device;
  Bench() { REQUIRE(root.add(device).ok()); }
  static constexpr std::uint64_t kSlot1 = 1 << 15;
  std::uint64_t get(std::uint64_t at, std::size_t size = 4) {
    return read_number(root.ecam(), kSlot1 + at, size);
  }
  void set(std::uint64_t at, std::uint64_t value, std::size_t size = 4) {
    write_number(root.ecam(), kSlot1 + at, value, size);
  }
};

}  // namespace

TEST_CASE("configuration space is the same through ECAM and through ports", "[pci]") {
  Bench bench;
  CHECK(read_number(bench.root.ecam(), 0, 4) == 0x00081b36);
  CHECK(bench.get(0) == 0x10441af4);
  CHECK(read_number(bench.root.ecam(), 2 << 15, 4) == 0xffffffff);                // empty slot
  CHECK(read_number(bench.root.ecam(), (1 << 15) | (1 << 12), 4) == 0xffffffff);  // function 1
  CHECK(bench.get(0x100) == 0xffffffff);

  auto& ports = bench.root.ports();
  write_number(ports, 0, 0x80000800, 4);
  CHECK(read_number(ports, 0, 4) == 0x80000800);
  CHECK(read_number(ports, 4, 4) == 0x10441af4);
  CHECK(read_number(ports, 6, 2) == 0x1044);
  write_number(ports, 0, 0x00000800, 4);
  CHECK(read_number(ports, 4, 4) == 0xffffffff);
  write_number(ports, 0, 0x80ff0800, 4);  // another bus
  CHECK(read_number(ports, 4, 4) == 0xffffffff);
}

TEST_CASE("the reset control register lies between the configuration ports", "[pci]") {
  Bench bench;
  write_number(bench.root.ports(), 1, 6);
  REQUIRE(bench.events.seen.size() == 1);
  CHECK(bench.events.seen[0].first == MachineEvent::Reset);
}

TEST_CASE("a guest can size, move and switch BARs, and only change what is its own", "[pci]") {
  Bench bench;
  const auto first = bench.get(kBar0);
  CHECK(first == kPciWindow32.base);
  CHECK_FALSE(bench.device.at[0].has_value());
  bench.set(kBar0, 0xffffffff);
  CHECK(bench.get(kBar0) == 0xfffff000);
  bench.set(kBar0 + 4, 0xffffffff);
  CHECK(bench.get(kBar0 + 4) == 0xffffc000);
  bench.set(kBar0 + 8, 0xffffffff);
  CHECK(bench.get(kBar0 + 8) == 0);
  bench.set(kBar0, 0xd0000000);
  bench.set(kBar0 + 4, 0xd0010000);
  bench.set(kCommand, kCommandMemory, 2);
  CHECK(bench.device.at[0] == 0xd0000000);
  CHECK(bench.device.at[1] == 0xd0010000);
  std::byte out[1];
  bench.mmio.read(0xd0000004, out);
  CHECK(out[0] == std::byte{5});
  bench.set(kBar0, 0xd0020000);
  CHECK(bench.device.at[0] == 0xd0020000);
  bench.mmio.read(0xd0000004, out);
  CHECK(out[0] == std::byte{0xff});
  bench.set(0, 0x12345678);
  CHECK(bench.get(0) == 0x10441af4);
  bench.root.reset();
  CHECK_FALSE(bench.device.at[0].has_value());
  CHECK(bench.get(kBar0) == first);
}

TEST_CASE("a BAR never covers RAM, interrupt controllers or another BAR", "[pci]") {
  Bench bench;
  bench.set(kCommand, kCommandMemory, 2);
  for (const std::uint32_t address :
       {0u, 0x100000u, 0xfee00000u, 0xfec00000u, 0xe0000000u, 0xfffff000u}) {
    bench.set(kBar0, address);
    CHECK_FALSE(bench.device.at[0].has_value());
  }
  bench.set(kBar0 + 4, 0xd0000000);
  bench.set(kBar0, 0xd0001000);  // inside the other
  CHECK_FALSE(bench.device.at[0].has_value());
  bench.set(kBar0, 0xd0004000);
  CHECK(bench.device.at[0] == 0xd0004000);
}

TEST_CASE("all slots can be filled and no more", "[pci]") {
  Bench bench;
  std::vector<std::unique_ptr<TwoBars>> devices;
  Status last;
  for (int i = 0; i < 31 && last.ok(); ++i) {
    devices.push_back(std::make_unique<TwoBars>());
    last = bench.root.add(*devices.back());
  }
  CHECK(last.error().reason() == "PCI_FULL");
  CHECK(devices.size() == 31);
}

TEST_CASE("MSI-X delivers, remembers while masked, and forgets on reset", "[pci][msix]") {
  test::FakePartition partition;
  ConfigSpace config(Identity{});
  Msix msix(partition, 3);
  msix.add_capability(config, 1);
  const auto control = static_cast<std::uint16_t>(config.get<std::uint8_t>(kCapabilities) + 2);
  const auto set_control = [&](std::uint16_t value) {
    std::byte bytes[2];
    put_number(bytes, value);
    config.write(control, bytes);
    msix.config_written(config);
  };
  CHECK(config.get<std::uint16_t>(control) == 2);
  write_number(msix, 16 + 0, 0xfee01000, 4);
  write_number(msix, 16 + 8, 0x77, 4);
  msix.raise(1);
  CHECK(partition.messages(0x77) == 0);
  CHECK(read_number(msix, 0x1000, 8) == 2);
  set_control(0x8000);
  CHECK(partition.messages(0x77) == 0);  // still masked by itself
  write_number(msix, 16 + 12, 0, 4);
  CHECK(partition.messages(0x77) == 1);
  CHECK(read_number(msix, 0x1000, 8) == 0);
  msix.raise(1);
  CHECK(partition.messages(0x77) == 2);
  set_control(0xc000);
  msix.raise(1);
  CHECK(partition.messages(0x77) == 2);
  set_control(0x8000);
  CHECK(partition.messages(0x77) == 3);
  write_number(msix, 16 + 8, 0x78, 4);  // moved to another CPU
  msix.raise(1);
  CHECK(partition.messages(0x78) == 1);
  msix.raise(3);
  msix.raise(0xffff);
  CHECK(read_number(msix, 16 + 8, 8) == 0x78);

  v1::MsixState state;
  msix.save(state);
  Msix other(partition, 3);
  REQUIRE(other.load(state).ok());
  other.raise(1);
  CHECK(partition.messages(0x78) == 2);
  Msix smaller(partition, 2);
  CHECK(smaller.load(state).error().reason() == "DEVICE_STATE");
  msix.reset();
  msix.raise(1);
  CHECK(partition.messages(0x78) == 2);
}

namespace {

constexpr std::uint16_t kOddVectors = 5;
constexpr std::uint64_t kPendingBits = 0x1000;

/// A table of which every field differs; vector 1 is unmasked, vector 4 waits while masked.
void fill_msix(Msix& msix, ConfigSpace& config) {
  msix.add_capability(config, 1);
  for (std::uint64_t i = 0; i < kOddVectors; ++i) {
    write_number(msix, 16 * i, 0xfee00000 + 0x1000 * i, 4);
    write_number(msix, 16 * i + 4, i, 4);
    write_number(msix, 16 * i + 8, 0x40 + i, 4);
    write_number(msix, 16 * i + 12, i == 1 ? 0 : 1, 4);
  }
  const auto control = static_cast<std::uint16_t>(config.get<std::uint8_t>(kCapabilities) + 2);
  std::byte enabled[2];
  put_number(enabled, 0x8000);
  config.write(control, enabled);
  msix.config_written(config);
  msix.raise(4);
}

/// All there is to know of it.
std::string saved(const Msix& msix) {
  v1::MsixState state;
  msix.save(state);
  return state.SerializeAsString();
}

/// A table access that the specification does not allow, or one outside of the table.
bool is_odd(std::uint64_t offset, std::size_t size) {
  return offset >= 16 * kOddVectors || (size != 4 && size != 8) || offset % size != 0;
}

constexpr std::size_t kSizes[] = {1, 2, 3, 4, 5, 6, 7, 8};

}  // namespace

TEST_CASE("odd writes to the MSI-X table change nothing and send nothing, CVE-2020-13754",
          "[pci][msix]") {
  test::FakePartition partition;
  ConfigSpace config(Identity{});
  Msix msix(partition, kOddVectors);
  fill_msix(msix, config);
  const auto before = saved(msix);
  for (std::uint64_t offset = 0; offset < Msix::kBarSize + 64; ++offset)
    for (const std::size_t size : kSizes) {
      if (!is_odd(offset, size)) continue;
      for (const std::uint64_t value : {std::uint64_t{0}, ~std::uint64_t{0}})
        write_number(msix, offset, value, size);
      if (partition.sent() != 0 || saved(msix) != before) {
        CAPTURE(offset, size, partition.sent());
        FAIL("an odd write was taken");
      }
    }
  CHECK((saved(msix) == before));
  CHECK(partition.sent() == 0);
  msix.raise(1);
  CHECK(partition.messages(0x41) == 1);
  write_number(msix, 16 * 4 + 12, 0, 4);  // what waited still does, and comes
  CHECK(partition.messages(0x44) == 1);
  CHECK(partition.sent() == 2);
}

TEST_CASE("odd reads of the MSI-X table give zeroes, its neighbours never", "[pci][msix]") {
  test::FakePartition partition;
  ConfigSpace config(Identity{});
  Msix msix(partition, kOddVectors);
  fill_msix(msix, config);
  const auto before = saved(msix);
  // What the guest put there, byte by byte, and the pending bits.
  std::vector<std::uint8_t> bytes(Msix::kBarSize + 64, 0);
  for (std::uint64_t at = 0; at < 16 * kOddVectors; at += 4) {
    const auto word = read_number(msix, at, 4);
    for (unsigned i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::uint8_t>(word >> (8 * i));
  }
  REQUIRE(bytes[16 * 3 + 8] == 0x43);
  bytes[kPendingBits] = 1 << 4;
  for (std::uint64_t offset = 0; offset + 8 <= bytes.size(); ++offset)
    for (const std::size_t size : kSizes) {
      std::uint64_t expected = 0;
      if (offset >= kPendingBits || !is_odd(offset, size))
        for (std::size_t i = 0; i < size; ++i)
          expected |= std::uint64_t{bytes[offset + i]} << (8 * i);
      const auto got = read_number(msix, offset, size);
      if (got != expected) {
        CAPTURE(offset, size, got, expected);
        FAIL("an odd read shows something else");
      }
    }
  CHECK((saved(msix) == before));
  CHECK(partition.sent() == 0);
}

}  // namespace reeve::core::pci
