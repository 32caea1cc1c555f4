#include "hypervisor_core/bus/bus.h"

#include <array>
#include <atomic>
#include <limits>
#include <thread>

#include <catch2/catch.hpp>

namespace reeve::core {
namespace {

class Echo final : public IoDevice {
 public:
  std::string_view name() const override { return "echo"; }
  void read(std::uint64_t offset, std::span<std::byte> out) override { put_number(out, offset); }
  void write(std::uint64_t offset, std::span<const std::byte> value) override {
    last_offset = offset;
    last_value = number_of(value);
  }
  std::atomic<std::uint64_t> last_offset{0}, last_value{0};
};

std::uint64_t get(Bus& bus, std::uint64_t address, std::size_t size) {
  std::array<std::byte, 8> bytes{};
  bus.read(address, std::span(bytes).first(size));
  return number_of(std::span<const std::byte>(bytes).first(size));
}

}  // namespace

TEST_CASE("an access reaches the device whose range holds all of it", "[bus]") {
  Bus bus;
  Echo low, high;
  REQUIRE(bus.attach(0x100, 0x10, low).ok());
  REQUIRE(bus.attach(0x110, 0x10, high).ok());
  CHECK(get(bus, 0x104, 4) == 4);
  CHECK(get(bus, 0x110, 1) == 0);
  CHECK(get(bus, 0x11f, 1) == 15);
  CHECK(get(bus, 0x10e, 4) == 0xffffffff);  // crosses
  CHECK(get(bus, 0x11e, 4) == 0xffffffff);
  CHECK(get(bus, 0xff, 1) == 0xff);
  CHECK(get(bus, 0x120, 1) == 0xff);
  CHECK(bus.unclaimed() == 4);
}

TEST_CASE("ranges that overlap, are empty or wrap are refused", "[bus]") {
  Bus bus;
  Echo device;
  REQUIRE(bus.attach(0x100, 0x10, device).ok());
  for (const auto& [base, size] : {std::pair<std::uint64_t, std::uint64_t>{0x10f, 1},
                                   {0x100, 0x10},
                                   {0xf0, 0x11},
                                   {0, 0x1000},
                                   {0x108, 0x100}})
    CHECK(bus.attach(base, size, device).error().reason() == "BUS_RANGE_TAKEN");
  CHECK(bus.attach(0, 0, device).error().reason() == "BUS_RANGE");
  CHECK(bus.attach(std::numeric_limits<std::uint64_t>::max(), 2, device).error().reason() ==
        "BUS_RANGE");
  bus.detach(0x100);
  CHECK(bus.attach(0x10f, 1, device).ok());
}

TEST_CASE("ranges move while other threads use the bus", "[bus]") {
  Bus bus;
  Echo fixed, moving;
  REQUIRE(bus.attach(0x1000, 0x100, fixed).ok());
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done)
      if (get(bus, 0x1042, 1) != 0x42) std::abort();
  });
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t base = i % 2 == 0 ? 0x0 : 0x2000;
    REQUIRE(bus.attach(base, 0x100, moving).ok());
    bus.detach(base);
  }
  done = true;
  reader.join();
}

}  // namespace reeve::core
