// Which hypervisor of a host gets a machine.
#include "server/app/placement.h"

#include "tests/db/db_fixture.h"

namespace reeve::server {
namespace {

using namespace reeve::test;

/// One host with hypervisors as its agent last told of them.
struct OneHost : MemoryDb {
  OneHost() {
    auto tx = begin();
    v1::HostStatus status;
    status.set_memory_mib(4096);
    status.mutable_cpu()->set_threads(512);
    auto row = host_row("h1", "alpha");
    row.state = "connected";
    row.status = status.SerializeAsString();
    must(db::HostRepo(tx).insert(row, by("a")));
    must(tx.commit());
  }
  void add(const std::string& kind, bool available,
           const std::vector<std::string>& capabilities = {}, const std::string& uri = "") {
    auto tx = begin();
    v1::Hypervisor shown;
    shown.set_available(available);
    shown.set_uri(uri);
    for (const auto& capability : capabilities) shown.add_capabilities(capability);
    db::Hypervisor row;
    row.uid = "y-" + kind;
    row.name = kind;
    row.host_uid = "h1";
    row.kind = kind;
    row.state = available ? "connected" : "failed";
    row.status = shown.SerializeAsString();
    must(db::HypervisorRepo(tx).insert(row, by("a")));
    must(tx.commit());
  }
  Result<std::string> place(const PlacementRequest& request) {
    auto tx = must(database->begin_read());
    Inventory inventory(tx, at(0));
    const auto placed = TRY(server::place(inventory, request));
    CHECK(placed.shown.hypervisor() == placed.hypervisor->row.name);
    return placed.hypervisor->row.name;
  }
};

const PlacementRequest kLinux{.cpus = 1, .memory_mib = 512, .has_kernel = true};

}  // namespace

TEST_CASE("a machine goes to the own core where it is usable, and to libvirt where it is not",
          "[placement]") {
  const auto with_core = [](bool usable) {
    OneHost host;
    // In the order of names the own core is not always first.
    host.add("libvirt", true, {"resource-limits", "user-network"});
    host.add("core", usable, {"user-network"});
    return must(host.place(kLinux));
  };
  CHECK(with_core(true) == "core");
  CHECK(with_core(false) == "libvirt");
}

TEST_CASE("a machine the own core cannot run goes to libvirt beside it", "[placement]") {
  OneHost host;
  host.add("core", true);
  host.add("libvirt", true, {"resource-limits", "user-network"});
  auto request = kLinux;
  CHECK(must(host.place(request)) == "core");
  request.has_kernel = false;
  CHECK(must(host.place(request)) == "libvirt");
  request = kLinux;
  request.user_network = true;
  CHECK(must(host.place(request)) == "libvirt");
  request = kLinux;
  request.limits = true;
  CHECK(must(host.place(request)) == "libvirt");
}

TEST_CASE("a hypervisor that was asked for is taken or refused, never replaced", "[placement]") {
  OneHost host;
  host.add("core", false);
  host.add("libvirt", true);
  auto request = kLinux;
  request.host_uid = "h1";
  request.hypervisor_id = "libvirt";
  CHECK(must(host.place(request)) == "libvirt");
  request.hypervisor_id = "core";
  const auto refused = host.place(request);
  REQUIRE(reason_of(refused) == "NO_HOST_FITS");
  CHECK(refused.error().message().find("has no available hypervisor 'core'") != std::string::npos);
}

TEST_CASE("no machine is planned with more processors than its hypervisor has for one",
          "[placement]") {
  OneHost host;
  host.add("core", true);
  auto request = kLinux;
  request.cpus = 254;
  CHECK(must(host.place(request)) == "core");
  request.cpus = 255;
  request.hypervisor_id = GENERATE("", "core");
  const auto refused = host.place(request);
  REQUIRE(reason_of(refused) == "NO_HOST_FITS");
  CHECK(refused.error().message().find("'alpha' runs up to 254 processors per machine on its "
                                       "hypervisor 'core', 255 are needed") != std::string::npos);

  host.add("libvirt", true, {}, "qemu:///system");
  request.hypervisor_id.clear();
  CHECK(must(host.place(request)) == "libvirt");  // takes one more
  request.cpus = 256;
  request.hypervisor_id = "libvirt";
  const auto most = host.place(request);
  REQUIRE(reason_of(most) == "NO_HOST_FITS");
  CHECK(most.error().message().find("runs up to 255 processors") != std::string::npos);

  auto tx = must(host.database->begin_read());
  Inventory inventory(tx, at(0));
  const auto alpha = must(inventory.host("h1"));
  const auto* core = alpha->hypervisor("core");
  CHECK(require_possible(*alpha, core, 254, 512).ok());
  CHECK(reason_of(require_possible(*alpha, core, 255, 512)) == "NO_HOST_FITS");
  CHECK(require_possible(*alpha, alpha->hypervisor("libvirt"), 255, 512).ok());
  CHECK(require_possible(*alpha, nullptr, 256, 512).ok());
}

TEST_CASE("a host whose hypervisors are all unusable takes no machine", "[placement]") {
  OneHost host;
  host.add("core", false);
  host.add("libvirt", false);
  CHECK(reason_of(host.place(kLinux)) == "NO_HOST_FITS");
}

}  // namespace reeve::server
