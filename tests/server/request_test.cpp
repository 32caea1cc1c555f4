#include <catch2/catch.hpp>

#include "base/random.h"
#include "server/app/list_request.h"
#include "server/app/validate.h"
#include "server/jobs/plan.h"

using namespace reeve;
using namespace reeve::server;

namespace {

const std::string kUid = "3f0c9c2e-0000-4000-8000-000000000001";

v1::VirtualMachine good_vm() {
  v1::VirtualMachine vm;
  vm.set_display_name("web-1");
  vm.mutable_spec()->set_cpus(2);
  vm.mutable_spec()->set_memory_mib(1024);
  vm.mutable_spec()->add_disks()->set_image("images/" + kUid);
  return vm;
}

/// The one field that is wrong once `spoil` was done to a good machine; "" when none is.
std::string wrong_field(const std::function<void(v1::VirtualMachine&)>& spoil) {
  auto vm = good_vm();
  spoil(vm);
  const Status outcome = check_new_vm(vm, "");
  if (outcome.ok()) return "";
  CHECK(outcome.error().reason() == "BAD_FIELD");
  for (const auto& [key, value] : outcome.error().metadata())
    if (key.starts_with("field:")) return key.substr(6);
  return "?";
}

}  // namespace

TEST_CASE("every field of a new machine is checked and named", "[app]") {
  CHECK(wrong_field([](auto&) {}) == "");
  CHECK(wrong_field([](auto& vm) { vm.clear_display_name(); }) == "vm.display_name");
  for (const char* name : {"-web", "a b", "a/b", "ä", "a\n", "..", "\xff"})
    CHECK(wrong_field([&](auto& vm) { vm.set_display_name(name); }) == "vm.display_name");
  CHECK(wrong_field([](auto& vm) { vm.set_display_name(std::string(64, 'a')); }) ==
        "vm.display_name");
  CHECK(wrong_field([](auto& vm) { vm.set_display_name(std::string(63, 'a')); }) == "");
  CHECK(wrong_field([](auto& vm) { vm.set_description(std::string(4097, 'a')); }) ==
        "vm.description");
  CHECK(wrong_field([](auto& vm) { (*vm.mutable_labels())["a b"] = "x"; }) == "vm.labels");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->set_cpus(0); }) == "vm.spec.cpus");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->set_cpus(257); }) == "vm.spec.cpus");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->set_memory_mib(31); }) ==
        "vm.spec.memory_mib");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->set_host("hosts/x"); }) == "vm.spec.host");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->set_hypervisor("../x"); }) ==
        "vm.spec.hypervisor");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->clear_disks(); }) == "vm.spec.disks");
}

TEST_CASE("disks, network cards, boot and first-boot data are checked", "[app]") {
  const auto disk = [](auto& vm) -> auto& {
    return *vm.mutable_spec()->mutable_disks(0);
  };
  const auto nic = [](auto& vm) -> auto& {
    return *vm.mutable_spec()->add_nics();
  };
  CHECK(wrong_field([&](auto& vm) { disk(vm).set_id("Disk"); }) == "vm.spec.disks[0].id");
  CHECK(wrong_field([&](auto& vm) { disk(vm).set_image("images/no"); }) ==
        "vm.spec.disks[0].image");
  CHECK(wrong_field([&](auto& vm) { disk(vm).set_size_bytes(513); }) ==
        "vm.spec.disks[0].size_bytes");
  CHECK(wrong_field([&](auto& vm) { disk(vm).set_size_bytes(-512); }) ==
        "vm.spec.disks[0].size_bytes");
  CHECK(wrong_field([&](auto& vm) { disk(vm).clear_image(); }) == "vm.spec.disks[0].size_bytes");
  CHECK(wrong_field([&](auto& vm) { disk(vm).set_format(v1::DISK_FORMAT_RAW); }) ==
        "vm.spec.disks[0].format");
  CHECK(wrong_field([&](auto& vm) {
          for (int i = 0; i < 16; ++i) vm.mutable_spec()->add_disks()->set_size_bytes(512);
        }) == "vm.spec.disks");
  CHECK(wrong_field([&](auto& vm) { nic(vm).set_mac("52:54:00:12:34:56"); }) == "");
  for (const char* mac : {"53:54:00:12:34:56", "52:54:00:12:34", "52-54-00-12-34-56",
                          "52:54:00:12:34:5G", "52:54:00:AB:34:56"})
    CHECK(wrong_field([&](auto& vm) { nic(vm).set_mac(mac); }) == "vm.spec.nics[0].mac");
  for (const char* bridge : {"a b", "..", "br/0", "sixteencharacter", "br0;reboot"})
    CHECK(wrong_field([&](auto& vm) { nic(vm).set_bridge(bridge); }) == "vm.spec.nics[0].bridge");
  CHECK(wrong_field([](auto& vm) { vm.mutable_spec()->mutable_boot(); }) == "vm.spec.boot.kernel");
  CHECK(wrong_field([](auto& vm) {
          vm.mutable_spec()->mutable_boot()->set_kernel("images/" + kUid);
          vm.mutable_spec()->mutable_boot()->set_command_line("a\nb");
        }) == "vm.spec.boot.command_line");
  CHECK(wrong_field([](auto& vm) {
          vm.mutable_spec()->mutable_cloud_init()->set_user_data(std::string((1U << 20) + 1, 'x'));
        }) == "vm.spec.cloud_init.user_data");
  CHECK(wrong_field([](auto& vm) {
          vm.mutable_spec()->mutable_cloud_init()->set_user_data("\xff\xfe");
        }) == "vm.spec.cloud_init.user_data");
}

TEST_CASE("all wrong fields are said at once", "[app]") {
  v1::VirtualMachine vm;
  const Status outcome = check_new_vm(vm, "not-a-uuid");
  REQUIRE_FALSE(outcome.ok());
  const auto& facts = outcome.error().metadata();
  for (const char* field :
       {"vm.display_name", "vm.spec.cpus", "vm.spec.memory_mib", "vm.spec.disks", "request_id"})
    CHECK(facts.contains(std::string("field:") + field));
}

TEST_CASE("an import names its kind, its format and its source", "[app]") {
  v1::ImportImageRequest request;
  request.mutable_image()->set_display_name("debian");
  request.mutable_image()->set_kind(v1::Image::KIND_DISK);
  request.mutable_image()->set_format(v1::DISK_FORMAT_QCOW2);
  request.set_host_path("/images/debian.qcow2");
  CHECK(check_import(request).ok());
  auto bad = request;
  bad.mutable_image()->clear_format();
  CHECK_FALSE(check_import(bad).ok());
  bad = request;
  bad.set_host_path("relative");
  CHECK_FALSE(check_import(bad).ok());
  bad = request;
  bad.set_upload_bytes(0);
  CHECK_FALSE(check_import(bad).ok());
  bad = request;
  bad.mutable_image()->set_sha256("ABC");
  CHECK_FALSE(check_import(bad).ok());
}

TEST_CASE("a mask names fields that can be changed", "[app]") {
  v1::UpdateVmRequest request;
  request.mutable_vm()->set_name("vms/" + kUid);
  CHECK(check_request(request).error().reason() == "BAD_MASK");
  request.mutable_update_mask()->add_paths("spec.host");
  CHECK(check_request(request).error().reason() == "BAD_MASK");
  request.mutable_update_mask()->set_paths(0, "description");
  CHECK(check_request(request).ok());
}

TEST_CASE("a filter is read, and what is wrong with it is said", "[app]") {
  const auto terms =
      parse_filter(R"(state = RUNNING AND display_name="web \"1\" *"  AND label.a.b = c)");
  REQUIRE(terms.ok());
  REQUIRE(terms.value().size() == 3);
  CHECK(terms.value()[0].value == "RUNNING");
  CHECK(terms.value()[1].value == "web \"1\" *");
  CHECK(terms.value()[2].key == "label.a.b");
  const auto single = parse_filter(R"(display_name = 'bo "x" \'y\' *' AND label.a = it's)");
  REQUIRE(single.ok());
  CHECK(single.value().at(0).value == "bo \"x\" 'y' *");
  CHECK(single.value().at(1).value == "it's");
  CHECK(parse_filter("display_name = 'bo").error().reason() == "BAD_FILTER");
  CHECK(parse_filter("").value().empty());
  for (const char* bad : {"=", "a", "a =", "a = b c = d", "a = \"b", "a = b AND", "a = b ANDc = d",
                          "\xff = b", "a = \"b\\"})
    CHECK(parse_filter(bad).error().reason() == "BAD_FILTER");
  CHECK(parse_filter(std::string(5000, 'a')).error().reason() == "BAD_FILTER");
}

TEST_CASE("a page token belongs to one list", "[app]") {
  const db::PageKey key{.value = "web\n1", .uid = kUid};
  const auto token = page_token(key, "state = RUNNING");
  const auto back = parse_page_token(token, "state = RUNNING");
  REQUIRE(back.ok());
  CHECK(back.value()->value == "web\n1");
  CHECK(back.value()->uid == kUid);
  CHECK(parse_page_token(token, "state = STOPPED").error().reason() == "BAD_PAGE_TOKEN");
  for (const auto& bad :
       {std::string("x"), std::string("%%%"), token.substr(0, 8), std::string(9000, 'A')})
    CHECK(parse_page_token(bad, "state = RUNNING").error().reason() == "BAD_PAGE_TOKEN");
  for (std::size_t cut = 1; cut < token.size(); ++cut)
    (void)parse_page_token(token.substr(0, cut), "state = RUNNING");
}

TEST_CASE("the same request has the same fingerprint, whatever its request_id", "[jobs]") {
  v1::CreateVmRequest request;
  *request.mutable_vm() = good_vm();
  for (const char* key : {"b", "a", "c"}) (*request.mutable_vm()->mutable_labels())[key] = "x";
  auto again = request;
  again.set_request_id(kUid);
  CHECK(facts_of(request).body == facts_of(again).body);
  again.set_start(true);
  CHECK(facts_of(request).body != facts_of(again).body);
  request.mutable_vm()->mutable_spec()->mutable_cloud_init()->set_user_data("secret");
  CHECK(facts_of(request).summary.find("secret") == std::string::npos);
}
