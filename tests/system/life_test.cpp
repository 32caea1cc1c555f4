// The life of a machine, through the command line, looked at from outside.
#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;

bool virsh_shows(Estate& estate, const std::string& name, const std::string& state) {
  const auto finished = estate.libvirtd().virsh({"domstate", name});
  return finished.exit_code == 0 && finished.output.starts_with(state);
}

std::size_t guest_folders(const Estate& estate) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(estate.dir() / "agent/guests"))
    count += entry.is_directory();
  return count;
}

TEST_CASE("a machine is created, started, watched, stopped and deleted for real",
          "[system][root]") {
  Estate estate;
  CHECK(estate.reeve_json({"server", "info"}).at("capabilities").dump().find("vms.plan") !=
        std::string::npos);
  const auto hypervisors = estate.reeve_json({"hypervisor", "list", "--host", "host-1"});
  REQUIRE(hypervisors.size() >= 1);
  for (const auto& hypervisor : hypervisors)
    CHECK(estate.reeve_json({"hypervisor", "show",
                             "host-1/" + hypervisor.at("id").get<std::string>()}) == hypervisor);
  CHECK(estate.reeve({"hypervisor", "show", "qemu"}).output.find("capabilities: ") !=
        std::string::npos);
  CHECK(estate.reeve({"hypervisor", "show", "absent"}).exit_code == 3);
  estate.import_quick_guest();
  auto create = Estate::create_arguments("web");

  // A plan changes nothing.
  auto dry = create;
  dry.push_back("--dry-run");
  const auto plan = estate.reeve_json(dry);
  CHECK(plan.at("state") == "STATE_PLANNED");
  CHECK(plan.at("steps").size() >= 2);
  CHECK(estate.query("select count(*) from vm") == "0");

  create.push_back("--start");
  const auto job = estate.reeve_json(create);
  CHECK(job.at("state") == "STATE_SUCCEEDED");
  CHECK(virsh_shows(estate, "web", "running"));
  CHECK(estate.vm("web").at("state") == "STATE_RUNNING");

  const auto console =
      estate.reeve({"vm", "console", "web", "--until", "REEVE-HEARTBEAT 2", "--timeout", "90"});
  CHECK(console.exit_code == 0);
  CHECK(console.output.find("REEVE-GUEST UP") != std::string::npos);

  estate.reeve_json({"vm", "pause", "web"});
  CHECK(virsh_shows(estate, "web", "paused"));
  estate.reeve_json({"vm", "resume", "web"});
  CHECK(virsh_shows(estate, "web", "running"));

  estate.reeve_json({"vm", "save", "web"});
  CHECK(virsh_shows(estate, "web", "shut off"));
  CHECK(estate.vm("web").at("state") == "STATE_SAVED");
  estate.reeve_json({"vm", "restore", "web"});
  CHECK(virsh_shows(estate, "web", "running"));

  estate.reeve_json({"vm", "stop", "web", "--grace", "60"});
  CHECK(virsh_shows(estate, "web", "shut off"));
  const auto farewell = estate.reeve({"vm", "console", "web", "--no-follow"});
  CHECK(farewell.output.find("REEVE-GUEST DOWN") != std::string::npos);

  estate.reeve_json({"vm", "update", "web", "--memory", "320M", "--cpus", "2"});
  CHECK(estate.libvirtd().virsh({"dumpxml", "web"}).output.find(">327680</memory>") !=
        std::string::npos);

  estate.reeve_json({"vm", "delete", "web", "--yes"});
  CHECK(estate.libvirtd().virsh({"list", "--all", "--name"}).output.find("web") ==
        std::string::npos);
  CHECK(guest_folders(estate) == 0);
  CHECK(estate.query("select count(*) from vm") == "0");
  CHECK(estate.query("select count(*) from job_lock") == "0");
  const auto audit = estate.reeve_json({"event", "audit"});
  CHECK(audit.dump().find("DeleteVm") != std::string::npos);
}

TEST_CASE("wrong requests change nothing and say why", "[system][root]") {
  Estate estate;
  estate.import_quick_guest();
  auto create = Estate::create_arguments("web");
  estate.reeve_json(create);
  struct Wrong {
    std::vector<std::string> arguments;
    int exit_code;
    std::string reason;
  };
  const auto ten_mib = (estate.dir() / "ten-mib.yaml").string();
  REQUIRE(write_file_durably(ten_mib, std::string(10u << 20, '#')).ok());
  const std::vector<Wrong> table{
      {{"vm", "create", "x", "--disk", "1G", "--cloud-init", ten_mib}, 1, "FILE_TOO_LARGE"},
      {{"vm", "create", "x", "--disk", "1G", "--cloud-init", ten_mib}, 1, "1048576 bytes"},
      {{"vm", "create", "x", "--disk", "1G", "--meta-data", ten_mib}, 1, "262144 bytes"},
      {Estate::create_arguments("web"), 4, "NAME_TAKEN"},
      {{"vm", "create", "../x", "--disk", "1G"}, 2, "BAD_FIELD"},
      {{"vm", "create", "x", "--cpus", "0", "--disk", "1G"}, 2, "BAD_FIELD"},
      {{"vm", "create", "x", "--memory", "900T", "--disk", "1G"}, 2, "BAD_FIELD"},
      {{"vm", "create", "x", "--image", "absent"}, 3, "IMAGE_NOT_FOUND"},
      {{"vm", "stop", "web"}, 4, "VM_NOT_RUNNING"},
      {{"vm", "resume", "web"}, 4, "VM_NOT_PAUSED"},
      {{"vm", "start", "absent"}, 3, "VM_NOT_FOUND"},
      {{"image", "delete", "kernel", "--yes"}, 4, "IMAGE_IN_USE"},
      {{"image", "import", "kernel", "/etc/hostname", "--kind", "kernel"}, 4, "NAME_TAKEN"},
      {{"image", "import", "d", "/etc/hostname", "--kind", "disk"}, 2, "USAGE"},
      {{"image", "import", "d", "/etc/hostname", "--kind", "disk", "--format", "qcow2"}, 9, ""},
  };
  for (const auto& wrong : table) {
    std::string line;
    for (const auto& argument : wrong.arguments) line += argument + " ";
    CAPTURE(line);
    auto arguments = wrong.arguments;
    arguments.insert(arguments.begin(), {"-o", "json"});
    const auto finished = estate.reeve(arguments);
    CAPTURE(finished.errors);
    CHECK(finished.exit_code == wrong.exit_code);
    CHECK(finished.errors.find(wrong.reason) != std::string::npos);
  }
  CHECK(estate.query("select count(*) from vm") == "1");
  CHECK(estate.query("select count(*) from image") == "2");
  CHECK(estate.query("select count(*) from job_lock") == "0");
}

}  // namespace
}  // namespace reeve::test
