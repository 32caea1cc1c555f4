#include "db/repo/feed_repo.h"
#include "tests/db/db_fixture.h"

namespace reeve::db {
namespace {

using namespace reeve::test;

std::vector<std::string> names(const std::vector<Vm>& rows) {
  std::vector<std::string> out;
  for (const auto& row : rows) out.push_back(row.name);
  return out;
}
using Names = std::vector<std::string>;

/// Three hosts; machines a-1 (alpha), a-2 (alpha), b-1 (beta), c-1 (nowhere).
struct Fleet : MemoryDb {
  Fleet() {
    auto tx = begin();
    HostRepo hosts(tx);
    must(hosts.insert(host_row("h1", "alpha"), by("a", 1)));
    must(hosts.insert(host_row("h2", "beta"), by("a", 2)));
    must(hosts.insert(host_row("h3", "gamma"), by("a", 3)));
    VmRepo vms(tx);
    must(vms.insert(vm_row("v4", "a-1", "h1"), by("a", 4)));
    must(vms.insert(vm_row("v3", "b-1", "h2"), by("a", 5)));
    must(vms.insert(vm_row("v2", "a-2", "h1"), by("a", 6)));
    must(vms.insert(vm_row("v1", "c-1"), by("a", 6)));
    must(tx.commit());
  }
};

TEST_CASE("a host comes back as it was stored", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  HostRepo hosts(tx);
  auto row = host_row("h1", "alpha");
  row.link_epoch = 3;
  row.last_seen = at(-5);
  row.status_observed_at = at(-6);
  const auto stored = must(hosts.insert(row, by("users/admin", 7)));
  CHECK(stored.revision == 1);
  CHECK_FALSE(stored.etag.empty());
  for (const auto& found : {must(hosts.get("h1")), must(hosts.get_by_name("alpha")),
                            must(hosts.get_by_key("key of h1"))}) {
    CHECK(found.uid == "h1");
    CHECK(found.name == "alpha");
    CHECK(found.state == "ready");
    CHECK(found.address == "192.0.2.1");
    CHECK(found.cert_key_sha256 == "key of h1");
    CHECK(found.spec == row.spec);
    CHECK(found.status == row.status);
    CHECK(found.link_epoch == 3);
    CHECK(found.last_seen == at(-5));
    CHECK(found.status_observed_at == at(-6));
    CHECK(found.create_time == at(7));
    CHECK(found.update_time == at(7));
    CHECK(found.etag == stored.etag);
    CHECK(found.revision == stored.revision);
  }
}

TEST_CASE("a hypervisor, a machine and an image come back as they were stored", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  Hypervisor hypervisor;
  hypervisor.uid = "y1";
  hypervisor.name = "qemu";
  hypervisor.host_uid = "h1";
  hypervisor.kind = "libvirt";
  hypervisor.state = "connected";
  hypervisor.spec = "uri";
  must(HypervisorRepo(tx).insert(hypervisor, by("a")));
  const auto found = must(HypervisorReader(tx).get_by_name("h1", "qemu"));
  CHECK(found.kind == "libvirt");
  CHECK(found.spec == "uri");
  CHECK(must(HypervisorReader(tx).list({Column::HostUid, "h1"}, {})).size() == 1);

  auto vm = must(VmReader(tx).get_by_name("a-1"));
  vm.hypervisor_uid = "y1";
  vm.etag.clear();
  vm.cpus = 8;
  must(VmRepo(tx).update(vm, by("a", 9)));
  vm = must(VmReader(tx).get("v4"));
  CHECK(vm.hypervisor_uid == "y1");
  CHECK(vm.cpus == 8);
  CHECK(vm.memory_mib == 1024);
  CHECK(vm.origin == "created");
  CHECK(vm.create_time == at(4));
  CHECK(vm.update_time == at(9));

  must(ImageRepo(tx).insert(image_row("i1", "debian"), by("a")));
  auto image = must(ImageReader(tx).get_by_name("debian"));
  image.state = "ready";
  image.size_bytes = 1LL << 40;
  image.sha256 = "abc";
  must(ImageRepo(tx).update_status(image, by("agents/h1")));
  image = must(ImageReader(tx).get("i1"));
  CHECK(image.state == "ready");
  CHECK(image.size_bytes == 1LL << 40);
  CHECK(image.sha256 == "abc");
  CHECK(image.format == "qcow2");
}

TEST_CASE("what is absent is named", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  CHECK(reason_of(HostReader(tx).get("nobody")) == "HOST_NOT_FOUND");
  CHECK(reason_of(VmReader(tx).get_by_name("nobody")) == "VM_NOT_FOUND");
  CHECK(reason_of(ImageReader(tx).get("nobody")) == "IMAGE_NOT_FOUND");
  CHECK(reason_of(HypervisorReader(tx).get("nobody")) == "HYPERVISOR_NOT_FOUND");
  CHECK(reason_of(VmRepo(tx).update(vm_row("v", "n"), by("a"))) == "VM_NOT_FOUND");
  CHECK(reason_of(VmRepo(tx).update_status(vm_row("v", "n"), by("a"))) == "VM_NOT_FOUND");
  CHECK(reason_of(VmRepo(tx).remove("v", "", by("a"))) == "VM_NOT_FOUND");
  CHECK(reason_of(HostRepo(tx).update_link("h", 1, 1, at(0))) == "HOST_NOT_FOUND");
  CHECK(must(FeedReader(tx).revision()) == 0);
}

TEST_CASE("a name is taken once, and free again after removal", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmRepo vms(tx);
  const auto taken = vms.insert(vm_row("new", "a-1"), by("a"));
  REQUIRE(reason_of(taken) == "DB_UNIQUE");
  CHECK(taken.error().message() == "there is another vm named 'a-1'");
  auto renamed = must(vms.get("v3"));
  renamed.name = "a-1";
  CHECK(reason_of(vms.update(renamed, by("a"))) == "DB_UNIQUE");
  auto twin = host_row("h9", "twin");
  twin.cert_key_sha256 = "key of h1";
  CHECK(HostRepo(tx).insert(twin, by("a")).error().metadata().at("columns") ==
        "host.cert_key_sha256");
  must(vms.remove("v4", "", by("a")));
  must(vms.insert(vm_row("new", "a-1"), by("a")));
}

TEST_CASE("update refuses a stale etag and takes the current one", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmRepo vms(tx);
  const auto first = must(vms.get("v4"));
  auto changed = first;
  changed.memory_mib = 2048;
  const auto second = must(vms.update(changed, by("a")));
  CHECK(second.etag != first.etag);
  const auto refused = vms.update(changed, by("a"));
  REQUIRE(reason_of(refused) == "STALE_ETAG");
  CHECK(refused.error().code() == Code::Aborted);
  CHECK(reason_of(vms.remove("v4", first.etag, by("a"))) == "STALE_ETAG");
  must(vms.remove("v4", second.etag, by("a")));
}

TEST_CASE("intent and status have separate writers", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmRepo vms(tx);
  auto intent = must(vms.get("v4"));
  auto observed = intent;
  observed.state = "running";
  observed.status = "booted";
  observed.memory_mib = 1;  // not the observer's business
  const auto seen = must(vms.update_status(observed, by("agents/h1")));
  CHECK(seen.etag == intent.etag);
  CHECK(seen.revision > intent.revision);
  intent.memory_mib = 4096;
  intent.state = "stopped";  // not the administrator's business
  must(vms.update(intent, by("users/admin")));
  const auto both = must(vms.get("v4"));
  CHECK(both.memory_mib == 4096);
  CHECK(both.state == "running");
  CHECK(both.status == "booted");
}

TEST_CASE("an observation that says nothing new makes no version", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  const auto before = must(FeedReader(tx).revision());
  auto vm = must(VmReader(tx).get("v4"));
  vm.status_observed_at = at(100);
  must(VmRepo(tx).update_status(vm, by("agents/h1")));
  must(HostRepo(tx).update_link("h1", 4, 17, at(100)));
  CHECK(must(FeedReader(tx).revision()) == before);
  CHECK(must(VmReader(tx).get("v4")).status_observed_at == at(100));
  CHECK(must(HostReader(tx).get("h1")).link_last_seq == 17);
}

TEST_CASE("what others refer to cannot be removed", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  const auto refused = HostRepo(tx).remove("h1", "", by("a"));
  REQUIRE(reason_of(refused) == "DB_FOREIGN_KEY");
  CHECK(refused.error().code() == Code::FailedPrecondition);
  must(HostRepo(tx).remove("h3", "", by("a")));
  CHECK(reason_of(VmRepo(tx).insert(vm_row("v9", "z", "no host"), by("a"))) == "DB_FOREIGN_KEY");
}

TEST_CASE("lists filter by host, state and name", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmRepo vms(tx);
  const auto list = [&](const Filter& filter) {
    return names(must(vms.list(filter, ObjectOrder::Name, {})));
  };
  auto running = must(vms.get("v2"));
  running.state = "running";
  must(vms.update_status(running, by("a")));
  CHECK(list({}) == Names{"a-1", "a-2", "b-1", "c-1"});
  CHECK(list({Column::HostUid, "h1"}) == Names{"a-1", "a-2"});
  CHECK(list(Filter(Column::HostUid, "h1").also(Column::State, "running")) == Names{"a-2"});
  CHECK(list(like(Column::Name, "a-*")) == Names{"a-1", "a-2"});
  CHECK(list(like(Column::Name, "?-1")) == Names{"a-1", "b-1", "c-1"});
  CHECK(list(like(Column::Name, "b-1")) == Names{"b-1"});
  CHECK(list(like(Column::Name, "a*1")) == Names{"a-1"});
  CHECK(list(like(Column::Name, "[ab]*")).empty());
  CHECK(list(like(Column::Name, "\xff*")).empty());
  CHECK(list(like(Column::Name, "' OR 1=1 --")).empty());
}

TEST_CASE("names with odd characters are stored, found and matched literally", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  VmRepo vms(tx);
  const Names odd{"[x]", "a%b", "a_b", "it's", "\"q\"", "\xc3\xbc", "\xf0\x9f\x90\xa7", " "};
  for (std::size_t i = 0; i < odd.size(); ++i)
    must(vms.insert(vm_row("v" + std::to_string(i), odd[i]), by("a")));
  for (const auto& name : odd) {
    CHECK(must(vms.get_by_name(name)).name == name);
    CHECK(names(must(vms.list(like(Column::Name, name), ObjectOrder::Name, {}))) == Names{name});
  }
  CHECK(names(must(vms.list(like(Column::Name, "[x*"), ObjectOrder::Name, {}))) == Names{"[x]"});
}

TEST_CASE("paging visits every row once in every order and direction", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmReader vms(tx);
  for (const auto order : {ObjectOrder::Name, ObjectOrder::CreateTime, ObjectOrder::UpdateTime}) {
    for (const bool descending : {false, true}) {
      const auto whole = names(must(vms.list({}, order, {.limit = 100, .descending = descending})));
      Names paged;
      Page page{.limit = 1, .descending = descending};
      for (;;) {
        const auto rows = must(vms.list({}, order, page));
        if (rows.empty()) break;
        paged.push_back(rows[0].name);
        page.after = key_of(rows[0], order);
      }
      CHECK(paged == whole);
      CHECK(paged.size() == 4);
    }
  }
}

TEST_CASE("a page is stable while rows before it go", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmRepo vms(tx);
  const auto first = must(vms.list({}, ObjectOrder::Name, {.limit = 2}));
  must(vms.remove(first[0].uid, "", by("a")));
  must(vms.remove(first[1].uid, "", by("a")));
  const Page next{.after = key_of(first[1], ObjectOrder::Name), .limit = 2};
  CHECK(names(must(vms.list({}, ObjectOrder::Name, next))) == Names{"b-1", "c-1"});
}

TEST_CASE("a page that makes no sense is refused", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  VmReader vms(tx);
  CHECK(reason_of(vms.list({}, ObjectOrder::Name, {.limit = 0})) == "BAD_PAGE");
  CHECK(reason_of(vms.list({}, ObjectOrder::Name, {.limit = -1})) == "BAD_PAGE");
  for (const std::string value : {"", "x", "1x", "99999999999999999999"})
    CHECK(reason_of(vms.list({}, ObjectOrder::UpdateTime, {.after = PageKey{value, "v"}})) ==
          "BAD_PAGE");
}

TEST_CASE("host loads add up what is placed", "[db]") {
  Fleet fleet;
  auto tx = fleet.begin();
  const auto loads = must(VmReader(tx).host_loads());
  REQUIRE(loads.size() == 2);
  CHECK(loads[0].host_uid == "h1");
  CHECK(loads[0].vms == 2);
  CHECK(loads[0].cpus == 4);
  CHECK(loads[0].memory_mib == 2048);
}

TEST_CASE("what a machine is made with is found by address and image until it goes", "[db]") {
  MemoryDb memory;
  auto tx = memory.begin();
  must(HostRepo(tx).insert(host_row("h1", "alpha"), by("a")));
  VmRepo vms(tx);
  must(vms.insert(vm_row("v1", "web", "h1"), by("a")));
  must(vms.insert(vm_row("v2", "mail", "h1"), by("a")));
  const auto revision = must(FeedReader(tx).revision());
  must(vms.set_devices("v1", {.macs = {"m1", "m2"}, .image_uids = {"i1", "i2", "i1"}}));
  must(vms.set_devices("v2", {.macs = {"m3"}, .image_uids = {"i1"}}));
  CHECK(must(FeedReader(tx).revision()) == revision);
  CHECK(must(vms.get_by_mac("m2")).name == "web");
  CHECK(must(vms.get_by_mac("m3")).name == "mail");
  CHECK(must(vms.users_of_image("i1", 10)).size() == 2);
  CHECK(must(vms.users_of_image("i1", 1)).size() == 1);
  CHECK(must(vms.users_of_image("i2", 10)) == std::vector<std::string>{"web"});
  must(vms.set_devices("v1", {.macs = {"m4"}}));
  CHECK(reason_of(vms.get_by_mac("m1")) == "VM_NOT_FOUND");
  CHECK(must(vms.users_of_image("i2", 10)).empty());
  must(vms.remove("v2", "", by("a")));
  CHECK(reason_of(vms.get_by_mac("m3")) == "VM_NOT_FOUND");
  CHECK(must(vms.users_of_image("i1", 10)).empty());
  CHECK(must(vms.count_on("h1")) == 1);
}

}  // namespace
}  // namespace reeve::db
