// What the command prints, in every format: names for people, the API's own objects for programs.
#include <algorithm>
#include <regex>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/text.h"
#include "tests/system/dialogue.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

/// True when there is a uid, or the name of a resource by its uid, in it.
bool has_uid(const std::string& text) {
  return std::regex_search(text, std::regex("(vms|hosts|images)/[0-9a-f]{4}"));
}

std::vector<std::string> create_line(const std::string& name) {
  return {"vm", "create", name, "--disk", "1M", "--memory", "64M", "--nic", "none"};
}

std::vector<std::string> with(std::vector<std::string> line, const std::vector<std::string>& more) {
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

void import_disk(const Estate& estate, const std::string& name) {
  const auto file = (estate.dir() / (name + ".raw")).string();
  REQUIRE(write_file_durably(file, std::string(1 << 20, 'x')).ok());
  estate.reeve_json({"image", "import", name, file, "--kind", "disk", "--format", "raw"});
}

TEST_CASE("people read names where the API has uids", "[system][root]") {
  const Estate estate{kSimulated};
  import_disk(estate, "debian");
  const std::vector<std::string> create{"vm",     "create",        "web",           "--image",
                                        "debian", "--nic",         "none",          "--memory",
                                        "64M",    "--description", "the front door"};
  const auto plan = estate.reeve(with(create, {"--dry-run"})).output;
  CAPTURE(plan);
  CHECK(has(plan, "over debian"));
  CHECK(has(plan, "spec.host: (none) -> host-1"));
  CHECK(has(plan, "Placement: host-1 / sim"));
  CHECK_FALSE(has_uid(plan));
  const auto vm = estate.reeve_json(create).at("target").get<std::string>();
  for (const std::vector<std::string>& line :
       {std::vector<std::string>{"vm", "list"}, {"vm", "list", "-o", "wide"}}) {
    const auto row = lines_of(estate.reeve(line).output).at(1);
    CHECK(has(row, " host-1 "));
  }
  const auto uid = estate.reeve_json({"host", "show", "host-1"}).at("uid").get<std::string>();
  CHECK(has(estate.reeve({"vm", "list", "-o", "csv"}).output, "," + uid.substr(0, 8) + ","));
  CHECK(has(estate.reeve({"hypervisor", "list"}).output, "host-1"));
  CHECK(has(estate.reeve({"hypervisor", "show", "sim"}).output, "host-1"));

  const auto page = estate.reeve({"vm", "show", "web"}).output;
  CAPTURE(page);
  for (const auto* part : {"host-1", "  debian\n", "the front door", "hypervisor:   sim", "boot:"})
    CHECK(has(page, part));
  CHECK_FALSE(has_uid(page));
  const auto stop_plan = estate.reeve({"vm", "delete", "web", "--dry-run"}).output;
  CHECK(has(stop_plan, "Locks: machine web"));
  CHECK_FALSE(has_uid(stop_plan));

  estate.reeve_json({"vm", "start", "web"});
  const auto job = lines_of(estate.reeve({"vm", "stop", "web", "--async"}).output).at(0);
  const auto busy = estate.reeve({"vm", "reboot", "web"});
  CHECK(busy.exit_code == 4);
  CHECK(has(busy.errors, "machine 'web' is held by the StopVm job " + job));
  estate.reeve({"job", "wait", job.substr(5)});

  const auto image = estate.reeve({"image", "show", "debian"}).output;
  CAPTURE(image);
  for (const auto* part : {"SHA256:", "copy on:      host-1", "DeleteImage    no: ", "web"})
    CHECK(has(image, part));
  const auto shown = estate.reeve({"job", "show", job.substr(5)}).output;
  for (const auto* part : {"actor:        tokens/", "created:      20", "ended:        20",
                           "request id:   ", "on host-1"})
    CHECK(has(shown, part));
  const auto host = estate.reeve({"host", "show", "host-1"}).output;
  for (const auto* part : {"numa node 0:", "cpu features: ", "store:"}) CHECK(has(host, part));
  for (const auto& line : lines_of(estate.reeve({"host", "list", "-o", "wide"}).output))
    CHECK(line.size() < 300);

  // The names do for filters, too.
  const auto found = [&](const std::vector<std::string>& line) {
    return lines_of(estate.reeve(with(line, {"-o", "name"})).output);
  };
  CHECK(found({"vm", "list", "--filter", "host = host-1"}) == std::vector{vm});
  CHECK(found({"image", "list", "--filter", "host = 'host-1'"}).size() == 1);
  CHECK(found({"vm", "list", "--filter", "display_name = 'we*'"}) == std::vector{vm});
  CHECK(found({"job", "list", "--filter", "target = web"}).size() == 3);
  CHECK(found({"job", "list", "--filter", "target = debian"}).size() == 1);
  const auto nobody = estate.reeve({"vm", "list", "--filter", "host = nobody"});
  CHECK(nobody.exit_code != 0);
  CHECK(has(nobody.errors, "'nobody'"));
  CHECK(estate.reeve({"event", "list", "--resource", "web", "-o", "csv"}).output ==
        estate.reeve({"event", "list", "--resource", vm, "-o", "csv"}).output);
  CHECK(estate.reeve({"event", "list", "--resource", "nobody"}).exit_code == 3);
  CHECK(found({"vm", "list", "--filter", "state = RUNNING OR NOT display_name = mail"}) ==
        std::vector{vm});
  CHECK(found({"vm", "list", "--filter", "create_time < 2000-01-01T00:00:00Z"}) == lines_of(""));
  const auto nested = estate.reeve({"vm", "list", "-f", "uid = a OR (uid = b AND host = host-1)"});
  CHECK(nested.exit_code == 2);
  CHECK(has(nested.errors, "instead of"));
}

TEST_CASE("events and the audit log are listed by filter, in both orders", "[system][root]") {
  const Estate estate{kSimulated};
  const auto vm = estate.reeve_json(create_line("web")).at("target").get<std::string>();
  estate.reeve_json({"vm", "delete", "web", "--yes"});
  const auto resources = [&](const std::vector<std::string>& line) {
    return lines_of(estate.reeve(with({"event", "list", "-o", "name"}, line)).output);
  };
  CHECK(resources({"-f", "type = DELETED"}) == std::vector{vm});
  auto changes = resources({"-f", "kind = vms OR kind = jobs"});
  REQUIRE(changes.size() > 4);
  CHECK(resources({"--kind", "vms", "--kind", "jobs"}) == changes);
  std::ranges::reverse(changes);
  CHECK(resources({"-f", "kind = vms OR kind = jobs", "--order-by", "revision desc"}) == changes);
  CHECK(resources({"-f", "kind = vms AND kind = jobs"}) == lines_of(""));

  const auto audit = [&](const std::vector<std::string>& line) {
    return estate.reeve_json(with({"event", "audit"}, line));
  };
  const auto all = audit({});
  const auto deletions = audit({"-f", "method = \"*/DeleteVm\" AND code = OK"});
  REQUIRE(deletions.size() == 1);
  CHECK(deletions.at(0).at("resource") == vm);
  CHECK(audit({"-f", "NOT method = \"*/DeleteVm\""}).size() == all.size() - 1);
  CHECK(audit({"--order-by", "sequence"}).at(0).at("sequence") == "1");
  CHECK(all.at(0).at("sequence") == std::to_string(all.size()));
  CHECK(estate.reeve({"event", "audit", "-f", "code = 7"}).exit_code == 2);
}

TEST_CASE("every format is what it says, or is refused", "[system][root]") {
  const Estate estate{kSimulated};
  estate.reeve_json(create_line("web"));
  estate.reeve_json(create_line("mail"));
  CHECK(estate.reeve_json({"server", "info"}).contains("version"));
  CHECK(has(estate.reeve({"server", "info"}).output, "version: "));
  CHECK(estate.reeve_json({"context", "list"}).at(0).at("current") == true);
  CHECK(estate.reeve({"context", "list", "-o", "name"}).output == "default\n");
  CHECK(estate.reeve({"context", "list", "-o", "csv"}).output ==
        "CURRENT,NAME,SERVER\ntrue,default," + estate.api() + "\n");
  for (const auto* format : {"csv", "name"}) {
    CHECK(estate.reeve({"server", "info", "-o", format}).exit_code == 2);
    const auto plan = estate.reeve({"vm", "start", "web", "--dry-run", "-o", format});
    CHECK(plan.exit_code == 2);
    CHECK(plan.output.empty());
    CHECK(has(plan.errors, "a plan has no -o "));
  }

  // One object a line, however many machines; rows under one header.
  const auto started = lines_of(estate.reeve({"vm", "start", "web", "mail", "-o", "json"}).output);
  REQUIRE(started.size() == 2);
  for (const auto& line : started) CHECK(json::parse(line).at("state") == "STATE_SUCCEEDED");
  const auto rows = lines_of(estate.reeve({"vm", "reboot", "web", "mail", "-o", "csv"}).output);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].starts_with("UID,KIND,TARGET,STATE,"));
  CHECK(has(rows[2], ",RebootVm,mail,SUCCEEDED,"));
  const auto documents = estate.reeve({"vm", "reboot", "web", "mail", "-o", "yaml"}).output;
  CHECK(times_in(documents, "---\n") == 1);

  // A job's mark is for people; times are the API's own.
  const auto job = lines_of(estate.reeve({"vm", "stop", "web", "--async"}).output).at(0);
  CHECK(has(estate.reeve({"vm", "list"}).output, "RUNNING*"));
  const auto csv = estate.reeve({"vm", "list", "-o", "csv"}).output;
  CHECK(has(csv, ",RUNNING,"));
  CHECK_FALSE(has(csv, "*"));
  CHECK(has(csv, "," + estate.vm("web").at("create_time").get<std::string>() + ","));
  estate.reeve({"job", "wait", job.substr(5)});
  CHECK(has(estate.reeve({"vm", "list", "--help"}).output, "STATE*"));
}

TEST_CASE("a list and what changes after it are read by one reader", "[system][root]") {
  const Estate estate{kSimulated};
  estate.reeve_json(create_line("web"));
  {
    Dialogue watch(estate.reeve_argv({"-o", "json", "vm", "list", "--watch"}), Dialogue::On::Pipes);
    REQUIRE(watch.hears("TYPE_BOOKMARK"));
    estate.reeve_json({"vm", "start", "web"});
    REQUIRE(watch.hears("STATE_RUNNING"));
    REQUIRE(watch.hears("\n"));
    const auto& heard = watch.heard();
    const auto lines = lines_of(heard.substr(0, heard.rfind('\n')));
    for (const auto& line : lines) CHECK(json::parse(line).contains("revision"));
    const auto first = json::parse(lines.at(0));
    CHECK(first.at("type") == "TYPE_CHANGED");
    CHECK(first.at("vm").at("display_name") == "web");
    CHECK(json::parse(lines.at(1)).at("type") == "TYPE_BOOKMARK");
  }
  Dialogue watch(estate.reeve_argv({"-o", "csv", "vm", "list", "--watch"}), Dialogue::On::Pipes);
  REQUIRE(watch.hears("web  RUNNING\n"));
  estate.reeve_json({"vm", "stop", "web", "--force"});
  REQUIRE(watch.hears("web  STOPPED\n"));
  const auto lines = lines_of(watch.heard());
  CHECK(lines.at(0) == "REVISION,TIME,TYPE,RESOURCE,ACTOR,JOB,OBJECT");
  for (const auto& line : lines) CHECK(split(line, ',').size() == 7);
}

TEST_CASE("an interruption of a watch is told once, and its end", "[system][root]") {
  Estate estate{kSimulated};
  Dialogue watch(estate.reeve_argv({"event", "watch"}), Dialogue::On::Terminal);
  estate.reeve_json(create_line("before"));
  REQUIRE(watch.hears("before"));
  estate.kill_server();
  REQUIRE(watch.hears("watch interrupted"));
  CHECK_FALSE(watch.hears("watch interrupted", 4s));
  estate.start_server();
  CHECK(watch.hears("watch goes on"));
  estate.reeve_json(create_line("after"));
  CHECK(watch.hears("after"));
  CHECK(times_in(watch.heard(), "watch interrupted") == 1);
  CHECK(times_in(watch.heard(), "watch goes on") == 1);
}

TEST_CASE("a plan shows what will be, and what is drawn later is not in it", "[system][root]") {
  const Estate estate{kSimulated};
  const auto seed = (estate.dir() / "user.yaml").string();
  REQUIRE(write_file_durably(seed, "#cloud-config\n").ok());
  const std::vector<std::string> create{"vm",       "create", "web",          "--disk", "1M",
                                        "--memory", "64M",    "--cloud-init", seed,     "--start"};
  const auto plan = estate.reeve(with(create, {"--dry-run"})).output;
  CAPTURE(plan);
  CHECK(has(plan, "spec.cloud_init: (none) -> user-data of 14 bytes"));
  CHECK(has(plan, "state: (none) -> RUNNING"));
  CHECK(has(plan, "drawn when it is made"));
  CHECK_FALSE(std::regex_search(plan, std::regex("([0-9a-f]{2}:){5}")));
  CHECK_FALSE(has_uid(plan));
  CHECK_FALSE(has(plan, "Locks: "));
  const auto first = estate.reeve_json(with(create, {"--dry-run"}));
  CHECK(estate.reeve_json(with(create, {"--dry-run"})) == first);
  const auto begun = estate.reeve_json(with(create, {"--async"}));
  CHECK(begun.at("locks").at(0) == begun.at("target"));
  const auto made = estate.reeve_json({"job", "wait", begun.at("uid").get<std::string>()});
  const auto mac = estate.vm("web").at("spec").at("nics").at(0).at("mac").get<std::string>();
  CHECK(has(made.at("diff").dump(), mac));
  CHECK(has(estate.reeve({"vm", "show", "web"}).output, "cloud-init:   user-data 14 B"));

  const std::vector<std::string> grow{"vm", "update", "web", "--cpus", "2"};
  CHECK(has(estate.reeve(with(grow, {"--dry-run"})).output,
            "spec.cpus waits until it is stopped and started"));
  const auto grown = estate.reeve(grow);
  CHECK(has(grown.errors, "spec.cpus takes effect when web is stopped and started\n"));
  CHECK(has(estate.reeve({"vm", "list"}).output, "RUNNING^"));
  Dialogue list(estate.reeve_argv({"vm", "list"}), Dialogue::On::Terminal);
  CHECK(list.hears("^  has changes"));
  estate.reeve_json({"vm", "stop", "web", "--force"});
  CHECK_FALSE(has(estate.reeve({"vm", "list"}).output, "^"));
  CHECK_FALSE(
      has(estate.reeve({"vm", "update", "web", "--cpus", "3", "--dry-run"}).output, "waits"));

  import_disk(estate, "debian");
  const auto described =
      estate.reeve({"image", "update", "debian", "--description", "hi", "--dry-run"});
  INFO(described.output << described.errors);
  CHECK(has(described.output, "  description: (none) -> hi\n"));
  CHECK_FALSE(has(described.output, "display_name"));
  const auto host =
      estate.reeve({"host", "update", "host-1", "--label", "rack=7", "--dry-run"}).output;
  CHECK(has(host, "  labels.rack: (none) -> 7\n"));
}

}  // namespace
}  // namespace reeve::test
