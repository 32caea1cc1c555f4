#include "cli/output/format.h"

#include <catch2/catch.hpp>

#include "cli/output/resources.h"

namespace reeve::cli {
namespace {

v1::VirtualMachine machine(const std::string& display_name) {
  v1::VirtualMachine vm;
  vm.set_name("vms/1");
  vm.set_display_name(display_name);
  vm.set_state(v1::VirtualMachine::STATE_RUNNING);
  vm.mutable_spec()->set_cpus(2);
  vm.mutable_spec()->set_memory_mib(512);
  return vm;
}

TEST_CASE("a table is aligned and shows no control characters of other people's names", "[cli]") {
  const std::vector<v1::VirtualMachine> vms{machine("a"), machine("b\x1b[31mred\r\n")};
  const std::string text = render_list(vms, vm_columns(), Format::Table);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\r') == std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') == 3);
  CHECK(text.find("512.0 MiB") != std::string::npos);
  CHECK(text.find("RUNNING") != std::string::npos);
}

TEST_CASE("csv quotes what needs it", "[cli]") {
  CHECK(render_csv({.titles = {"A", "B"}, .rows = {{"x,y", "say \"hi\"\n"}}}) ==
        "A,B\n\"x,y\",\"say \"\"hi\"\"\n\"\n");
}

TEST_CASE("json is the API's own and yaml has the same content", "[cli]") {
  const auto vm = machine("web");
  const std::string json = render_one(vm, vm_columns(), Format::Json);
  CHECK(json.find("\"display_name\": \"web\"") != std::string::npos);
  CHECK(json.find("\"memory_mib\": \"512\"") != std::string::npos);
  const std::string yaml = render_one(vm, vm_columns(), Format::Yaml);
  CHECK(yaml.find("display_name: web\n") != std::string::npos);
  CHECK(yaml.find('{') == std::string::npos);
}

TEST_CASE("what another reader of yaml could take for something else is quoted", "[cli]") {
  for (const std::string text :
       {"yes",  "No",   "y",     "ON",         "off",  "true", "False", "null", "Null", "~",
        "123",  "-1",   "0x1f",  "0o17",       "017",  "1.0",  "1e3",   ".5",   ".inf", ".NaN",
        "1:30", "1_0",  "<<",    "2026-11-21", "134",  "=",    " a",    "a: b", "- a",  "# a",
        "a #b", "!x",   "&x",    "*x",         "{a}",  "[a]",  "%a",    "@a",   "`a",   "|",
        "'a'",  "a b ", "7e5f-", "10:00:00.5", "9e-5", ">",    "?",     "a,b",  "-",    "---"}) {
    CAPTURE(text);
    auto vm = machine(text);
    (*vm.mutable_labels())[text] = text;
    const std::string yaml = render_one(vm, vm_columns(), Format::Yaml);
    CAPTURE(yaml);
    CHECK(yaml.find("display_name: \"" + text + "\"\n") != std::string::npos);
    CHECK(yaml.find("  \"" + text + "\": \"" + text + "\"\n") != std::string::npos);
  }
  auto vm = machine("");
  vm.set_etag("134");
  vm.set_description(
      "two\nlines\x7f \xf0\x9d\x85\xb3");  // a character that JSON writes as two escapes
  const std::string yaml = render_list(std::vector{vm}, vm_columns(), Format::Yaml);
  CAPTURE(yaml);
  CHECK(yaml.starts_with("- name: vms/1\n"));
  for (const auto* line : {"  etag: \"134\"\n", "    cpus: 2\n", "    memory_mib: \"512\"\n",
                           "  state: STATE_RUNNING\n", "\"two\\nlines\\x7f "})
    CHECK(yaml.find(line) != std::string::npos);
}

TEST_CASE("an empty list is empty in every format", "[cli]") {
  const std::vector<v1::VirtualMachine> none;
  CHECK(render_list(none, vm_columns(), Format::Json) == "[]\n");
  CHECK(render_list(none, vm_columns(), Format::Yaml) == "[]\n");
  CHECK(render_list(none, vm_columns(), Format::Name).empty());
  CHECK(render_list(none, vm_columns(), Format::Table).starts_with("NAME"));
}

TEST_CASE("sizes and ages read as people say them", "[cli]") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes(std::int64_t{5} << 40) == "5.0 TiB");
  CHECK(human_age(0, 119) == "119s");
  CHECK(human_age(0, 7199) == "119m");
  CHECK(human_age(0, 3 * 86400) == "3d");
  CHECK(human_age(100, 50) == "0s");
}

TEST_CASE("what is under way says how much, how fast and how long", "[cli]") {
  constexpr std::int64_t kMiB = 1 << 20;
  CHECK(transfer_text(40 * kMiB, 80 * kMiB, 2) == "40.0 MiB of 80.0 MiB  50%  20.0 MiB/s  2s left");
  CHECK(transfer_text(0, 80 * kMiB, 0) == "0 B of 80.0 MiB  0%");
  CHECK(transfer_text(0, 0, 1) == "0 B of 0 B");
}

TEST_CASE("csv has times as the API has them and no marks", "[cli]") {
  auto vm = machine("web");
  vm.mutable_create_time()->set_seconds(1'700'000'000);
  vm.mutable_create_time()->set_nanos(123'456'000);
  vm.set_active_job("jobs/1");
  vm.mutable_status()->add_pending_restart("spec.cpus");
  const std::string csv = render_one(vm, vm_columns(), Format::Csv);
  CHECK(csv.find(",RUNNING,") != std::string::npos);
  CHECK(csv.find(",2023-11-14T22:13:20.123456Z,") != std::string::npos);
  CHECK(render_one(vm, vm_columns(), Format::Table).find("RUNNING*^") != std::string::npos);
}

TEST_CASE("an unknown format names the known ones", "[cli]") {
  const auto error = parse_format("xml").error();
  CHECK(error.reason() == "USAGE");
  CHECK(error.message().find("yaml") != std::string::npos);
}

}  // namespace
}  // namespace reeve::cli
