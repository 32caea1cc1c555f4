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

namespace {

/// "a=1|!b=2 & c>3": groups of OR joined by AND, or the reason of the refusal.
std::string read_filter(std::string_view text) {
  const auto groups = parse_filter(text);
  if (!groups.ok()) return std::string(groups.error().reason());
  constexpr std::string_view kSigns[] = {"=", "<", "<=", ">", ">=", ":"};
  std::string out;
  for (const auto& group : groups.value()) {
    if (!out.empty()) out += " & ";
    for (const auto& term : group) {
      if (&term != &group.front()) out += "|";
      out += (term.negated ? "!" : "") + term.key;
      out.append(kSigns[static_cast<int>(term.sign)]).append(term.value);
    }
  }
  return out;
}

std::string message_of(std::string_view filter) {
  const auto groups = parse_filter(filter);
  return groups.ok() ? std::string() : groups.error().message();
}

}  // namespace

TEST_CASE("a filter is groups of restrictions joined by OR, which AND joins", "[app]") {
  const std::pair<const char*, const char*> rows[] = {
      {"", ""},
      {"   ", ""},
      {"a = 1", "a=1"},
      {"  a=1  ", "a=1"},
      {R"(state = RUNNING AND display_name="web \"1\" *"  AND label.a.b = c)",
       "state=RUNNING & display_name=web \"1\" * & label.a.b=c"},
      {R"(display_name = 'bo "x" \'y\' *' AND label.a = it's)",
       "display_name=bo \"x\" 'y' * & label.a=it's"},
      {"a != 1", "!a=1"},
      {"a<1 AND b <= 2 AND c>3 AND d >=4 AND label.e:*", "a<1 & b<=2 & c>3 & d>=4 & label.e:*"},
      {"t > 2026-11-01T00:00:00+01:00", "t>2026-11-01T00:00:00+01:00"},
      {"n > -5", "n>-5"},
      {"a = b!", "a=b!"},
      {"a = AND", "a=AND"},
      {"a = ''", "a="},
      {"NOT a = 1", "!a=1"},
      {"-a = 1", "!a=1"},
      {"- a = 1", "!a=1"},
      {"NOT a != 1", "a=1"},
      {"NOT a > 1", "!a>1"},
      {"NOTE = x AND ORIGIN = y AND ANDY = z", "NOTE=x & ORIGIN=y & ANDY=z"},
      {"a=1 OR a=2", "a=1|a=2"},
      {"a=1 OR a=2 AND b=3", "a=1|a=2 & b=3"},
      {"b=3 AND a=1 OR a=2", "b=3 & a=1|a=2"},
      {"a=1 OR NOT b=2 OR -c=3", "a=1|!b=2|!c=3"},
      {"(a=1)", "a=1"},
      {"( a = 1 OR b = 2 ) AND c = 3", "a=1|b=2 & c=3"},
      {"c=3 AND(a=1 OR b=2)", "c=3 & a=1|b=2"},
      {"(a=1 AND b=2) AND c=3", "a=1 & b=2 & c=3"},
      {"((a=1) OR ((b=2)))", "a=1|b=2"},
      {"NOT (a=1 OR b=2)", "!a=1 & !b=2"},
      {"NOT(a=1 AND b!=2)", "!a=1|b=2"},
      {"-(a=1 AND b=2) OR c=3", "!a=1|!b=2|c=3"},
      {"NOT (NOT (a=1 OR b=2))", "a=1|b=2"},
  };
  for (const auto& [filter, groups] : rows) {
    CAPTURE(filter);
    CHECK(read_filter(filter) == groups);
  }
  const auto sixteen = [](std::string_view joint, int count) {
    std::string filter = "a=0";
    for (int i = 1; i < count; ++i) filter.append(joint).append("a=1");
    return filter;
  };
  for (const auto* joint : {" AND ", " OR "}) {
    CHECK(parse_filter(sixteen(joint, 16)).ok());
    CHECK(read_filter(sixteen(joint, 17)) == "BAD_FILTER");
  }
}

TEST_CASE("what is wrong with a filter is said, whatever it is", "[app]") {
  for (const char* bad : {"=",
                          "a",
                          "a =",
                          "a = b c = d",
                          "a = \"b",
                          "a = 'b",
                          "a = b AND",
                          "a = b OR",
                          "a = b ANDc = d",
                          "a = b AND AND c = d",
                          "a = b OR OR c = d",
                          "AND a = b",
                          "OR = 1",
                          "\xff = b",
                          "a = \"b\\",
                          "a == b",
                          "a =! b",
                          "a ! b",
                          "a ~ b",
                          "a <> b",
                          "NOT",
                          "-",
                          "NOT NOT a = b",
                          "--a = b",
                          "NOT -a = b",
                          "()",
                          "(",
                          ")",
                          "(a = b",
                          "a = b)",
                          "(a = b))",
                          "(a = b) (c = d)",
                          "a = (b)",
                          "a = b OR (c = d AND e = f)",
                          "(a = b AND c = d) OR e = f",
                          "NOT ((a = b OR c = d) AND e = f)",
                          "a : ",

                          "((((((((((a = b))))))))))"}) {
    CAPTURE(bad);
    CHECK(read_filter(bad) == "BAD_FILTER");
  }
  for (const auto& hostile :
       {std::string(4096, '('), std::string(4096, ')'), std::string(4096, '-'),
        std::string(5000, 'a'), "a = " + std::string(4000, '"'), "a = \"" + std::string(4000, '\\'),
        std::string("a = b\0c", 7) + ")", std::string(2048, '(') + "a=1" + std::string(2000, ')')})
    CHECK(read_filter(hostile) == "BAD_FILTER");
  std::string nots;
  while (nots.size() < 4000) nots += "NOT ";
  CHECK(read_filter(nots + "a = b") == "BAD_FILTER");
  CHECK(message_of("a = b OR (c = d AND e = f)").find("instead of") != std::string::npos);
  CHECK(message_of("a = b AND AND").find("where it has AND") != std::string::npos);
  CHECK(message_of("a = b)").find("without '('") != std::string::npos);
  CHECK(message_of(std::string(9, '(') + "a=1").find("8 deep") != std::string::npos);
  // Cut anywhere it is read or refused, never more.
  const std::string whole =
      R"(NOT (a = "b \" c" OR -d >= 'e') AND (label.f:* OR g != h) AND create_time < 2026)";
  for (std::size_t cut = 0; cut <= whole.size(); ++cut)
    for (const auto& part : {whole.substr(0, cut), whole.substr(cut)}) {
      const auto outcome = parse_filter(part);
      if (!outcome.ok()) CHECK(outcome.error().reason() == "BAD_FILTER");
    }
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
