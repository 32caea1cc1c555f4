#include "hypervisor_core/virtio/devices/rng.h"

#include <catch2/catch.hpp>

#include "tests/hypervisor_core/virtio/device_bench.h"

using namespace reeve;
using namespace reeve::core::virtio;
using namespace reeve::core::virtio::test;

TEST_CASE("the entropy device fills a request, but never more than its limit", "[virtio]") {
  SeededRandom source(1);
  Rng rng(source);
  DeviceBench bench(rng);
  auto& driver = bench.drivers[0];
  const auto small = driver.writable(32);
  driver.submit({small});
  driver.submit({driver.writable(100'000)});
  bench.serve(0);
  CHECK(driver.take_used()->length == 32);
  CHECK(driver.text(small) != std::string(32, '\0'));
  CHECK(driver.take_used()->length == Rng::kMaxRequest);
  CHECK(rng.counters().bytes == 32 + Rng::kMaxRequest);
}

TEST_CASE("the entropy device returns a request it cannot fill", "[virtio]") {
  SeededRandom source(1);
  Rng rng(source);
  DeviceBench bench(rng);
  bench.drivers[0].submit({bench.drivers[0].readable("read only")});
  bench.serve(0);
  CHECK(bench.drivers[0].take_used()->length == 0);
  CHECK(rng.counters().bad_chains == 1);
}
