#include "server/app/mac_pool.h"

#include <catch2/catch.hpp>

#include "db/repo/vm_repo.h"
#include "tests/db/db_fixture.h"

using namespace reeve;
using namespace reeve::server;
using namespace reeve::test;

namespace {

/// A machine with these addresses.
void add_machine(db::Transaction& tx, const std::string& name, std::vector<std::string> macs) {
  db::VmRepo repo(tx);
  REQUIRE(repo.insert(vm_row(name, name, ""), by("a")).ok());
  REQUIRE(repo.set_devices(name, {.macs = std::move(macs)}).ok());
}

}  // namespace

TEST_CASE("a pool is three bytes of unicast addresses", "[app]") {
  CHECK(MacPool::create("52:54:00").value().address(0x01abcdef) == "52:54:00:ab:cd:ef");
  for (const auto* bad : {"", "52:54", "52:54:0", "52:54:00:", "52:54:0g", "52:54:AA", "01:00:5e",
                          "52:54:00:00", "52-54-00"}) {
    CAPTURE(bad);
    const auto pool = MacPool::create(bad);
    REQUIRE_FALSE(pool.ok());
    CHECK(pool.error().reason() == "BAD_MAC_PREFIX");
  }
}

TEST_CASE("every server has a locally administered pool of its own", "[app]") {
  const auto one = MacPool::of_server("3f0c9c2e-0000-4000-8000-000000000001");
  const auto other = MacPool::of_server("a10c9c2e-0000-4000-8000-000000000001");
  CHECK(one.prefix() == "56:3f:0c");
  CHECK(other.prefix() == "56:a1:0c");
  CHECK(MacPool::create(one.prefix()).ok());
  CHECK(MacPool::create(MacPool::of_server("").prefix()).ok());
}

TEST_CASE("a free address is the next one that nobody has", "[app]") {
  MemoryDb memory;
  auto tx = memory.begin();
  const auto pool = MacPool::create("52:54:00").value();
  add_machine(tx, "web", {"52:54:00:00:00:01", "52:54:00:00:00:02"});
  CHECK(pool.free_address(tx, 0, {}).value() == "52:54:00:00:00:00");
  CHECK(pool.free_address(tx, 1, {}).value() == "52:54:00:00:00:03");
  CHECK(pool.free_address(tx, 1, {"52:54:00:00:00:03"}).value() == "52:54:00:00:00:04");
  CHECK(pool.free_address(tx, 0xffffff, {"52:54:00:ff:ff:ff"}).value() == "52:54:00:00:00:00");
  const auto taken = require_free_mac(tx, "52:54:00:00:00:02");
  REQUIRE_FALSE(taken.ok());
  CHECK(taken.error().reason() == "MAC_TAKEN");
  CHECK(taken.error().message().find("'web'") != std::string::npos);
  CHECK(taken.error().resource() == "vms/web");
  CHECK(require_free_mac(tx, "52:54:00:00:00:03").ok());
}

TEST_CASE("a pool that is used up says so", "[app]") {
  MemoryDb memory;
  auto tx = memory.begin();
  const auto pool = MacPool::create("52:54:00").value();
  std::vector<std::string> macs;
  for (std::uint32_t n = 0; n < 1000; ++n) macs.push_back(pool.address(n));
  add_machine(tx, "greedy", macs);
  const auto full = pool.free_address(tx, 0, {});
  REQUIRE_FALSE(full.ok());
  CHECK(full.error().reason() == "MAC_POOL_FULL");
  CHECK(pool.free_address(tx, 1, {}).value() == pool.address(1000));
}
