// Machines on the own core, from the command line to the process: they outlive the agent, are saved
// and restored. The guests are payloads, which run on any KVM; Linux on the core is in the KVM lab.
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <system_error>

#include <catch2/catch.hpp>
#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/hypervisor_core/support/console_guest.h"
#include "tests/hypervisor_core/support/payload_kernel.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

/// Nothing where this machine has no KVM at all.
bool has_kvm() {
  if (::access("/dev/kvm", R_OK | W_OK) == 0) return true;
  WARN("skipped: no /dev/kvm");
  return false;
}

struct CoreEstate {
  CoreEstate() {
    estate.reeve_json({"image", "import", "payload", kernel.path(), "--kind", "kernel"});
    const auto job = estate.reeve_json({"vm", "create", "web", "--kernel", "payload", "--memory",
                                        "32M", "--nic", "none", "--disk", "1M", "--start"});
    REQUIRE(job.at("state") == "STATE_SUCCEEDED");
  }
  /// Machines outlive their agent: what a test leaves is deleted here, and killed if that fails.
  ~CoreEstate() {
    if (std::uncaught_exceptions() > 0) tell();
    (void)estate.reeve({"vm", "delete", "web", "--force", "--yes"});
    std::error_code none_left;
    for (const auto& guest :
         std::filesystem::directory_iterator(estate.dir() / "agent/guests", none_left)) {
      const auto pid = read_file((guest.path() / "run/vmm/vmm.pid").string());
      if (const int number = pid.ok() ? std::atoi(pid.value().c_str()) : 0; number > 1)
        ::kill(number, SIGKILL);
    }
  }
  /// What is known of the machine when a test has failed.
  void tell() const {
    WARN(estate.reeve({"-o", "yaml", "vm", "show", "web"}).output);
    const auto uid = estate.vm("web").at("uid").get<std::string>();
    const auto run_dir = estate.dir() / ("agent/guests/" + uid + "/run/vmm");
    for (const auto* left : {"vmm.err", "vmm.pid", "exit.pb"}) {
      const auto said = read_file(run_dir / left);
      WARN(left << ": " << (said.ok() ? said.value() : said.error().message()));
    }
  }
  std::string state() const { return estate.vm("web").value("state", ""); }
  std::string pid() const {
    const auto uid = estate.vm("web").at("uid").get<std::string>();
    return read_file(estate.dir() / ("agent/guests/" + uid + "/run/vmm/vmm.pid")).value();
  }
  void wait_for_guest() const {
    const auto console =
        estate.reeve({"vm", "console", "web", "--until", "REEVE-GUEST UP", "--timeout", "30"});
    INFO(console.output << console.errors << estate.server_log() << estate.agent_log());
    REQUIRE(console.exit_code == 0);
  }
  int boots() const {
    return times_in(estate.reeve({"vm", "console", "web", "--no-follow"}).output, "REEVE-GUEST UP");
  }

  core::test::PayloadKernel kernel{core::test::kConsoleGuest};
  Estate estate{"core = \"any\"\nlibvirt = []\n"};
};

}  // namespace

TEST_CASE("machines on the own core run on through kill -9 of agent and server",
          "[system][core][kvm][root]") {
  if (!has_kvm()) return;
  CoreEstate world;
  auto& estate = world.estate;
  CHECK(estate.vm("web").at("spec").at("hypervisor") == "core");
  world.wait_for_guest();
  const auto before = world.pid();
  const auto started = estate.vm("web").at("status").at("start_time");
  estate.kill_agent();
  estate.kill_server();
  estate.start_server();
  estate.start_agent();
  estate.wait_until("the machine is seen running again", [&] {
    return world.state() == "STATE_RUNNING" &&
           estate.reeve_json({"host", "list"})[0].value("state", "") == "STATE_CONNECTED";
  });
  CHECK(world.pid() == before);
  CHECK(world.boots() == 1);
  // The new agent hears of it: its power button, its end, its crash.
  estate.reeve_json({"vm", "stop", "web", "--grace", "30"});
  CHECK(world.state() == "STATE_STOPPED");
  estate.reeve_json({"vm", "start", "web"});
  REQUIRE(::kill(std::stoi(world.pid()), SIGKILL) == 0);
  estate.wait_until("the machine is seen crashed",
                    [&] { return world.state() == "STATE_CRASHED"; });
  estate.reeve_json({"vm", "delete", "web", "--force", "--yes"});
  CHECK(estate.query("select count(*) from vm") == "0");
}

TEST_CASE("limits of a running machine are changed from the command line",
          "[system][core][kvm][root]") {
  if (!has_kvm()) return;
  CoreEstate world;
  auto& estate = world.estate;
  const auto group = "/sys/fs/cgroup/cpu/reeve/" + estate.vm("web").at("uid").get<std::string>();
  if (!std::filesystem::exists(group)) {
    WARN("skipped: no control groups of version 1 to look at");
    return;
  }
  const auto shares = [&] { return std::stoi(read_file(group + "/cpu.shares").value()); };
  const auto planned = estate.reeve({"vm", "update", "web", "--cpu-weight", "300", "--dry-run"});
  CHECK(planned.output.find("300") != std::string::npos);
  CHECK(shares() == 1024);
  estate.reeve_json({"vm", "update", "web", "--cpu-weight", "300", "--cpu-limit", "50%"});
  CHECK(shares() == 3072);
  CHECK(std::stoi(read_file(group + "/cpu.cfs_quota_us").value()) == 50'000);
  CHECK(world.state() == "STATE_RUNNING");
  const auto page = estate.reeve({"vm", "show", "web"});
  CHECK(page.output.find("CPU weight 300, CPU limit 50%, memory limit default") !=
        std::string::npos);
  estate.reeve_json({"vm", "update", "web", "--cpu-weight", "default"});
  CHECK(shares() == 1024);
  // A hundredth of a processor is little, and the machine still does what it is told.
  estate.reeve_json({"vm", "update", "web", "--cpu-limit", "1"});
  estate.reeve_json({"vm", "pause", "web"});
  estate.reeve_json({"vm", "resume", "web"});
  estate.reeve_json({"vm", "save", "web"});
  estate.reeve_json({"vm", "restore", "web"});
  CHECK(std::stoi(read_file(group + "/cpu.cfs_quota_us").value()) == 1'000);
  const std::vector<std::vector<std::string>> table{{"--cpu-weight", "10001"},
                                                    {"--memory-limit", "33M"}};
  for (const auto& wrong : table) {
    auto arguments = std::vector<std::string>{"-o", "json", "vm", "update", "web"};
    arguments.insert(arguments.end(), wrong.begin(), wrong.end());
    const auto refused = estate.reeve(arguments);
    CHECK(refused.exit_code == 2);
    CHECK(refused.errors.find("BAD_FIELD") != std::string::npos);
  }
  CHECK(estate.reeve({"vm", "update", "web", "--cpu-limit", "lots"}).errors.find("whole number") !=
        std::string::npos);
}

TEST_CASE("a machine on the own core is saved, restored, and dropped",
          "[system][core][kvm][root]") {
  if (!has_kvm()) return;
  CoreEstate world;
  auto& estate = world.estate;
  const auto refuses = [&](std::vector<std::string> arguments, const std::string& reason) {
    arguments.insert(arguments.begin(), {"-o", "json"});
    const auto refused = estate.reeve(arguments);
    CHECK(refused.exit_code != 0);
    CHECK(refused.errors.find(reason) != std::string::npos);
  };
  refuses({"vm", "restore", "web"}, "VM_NOT_SAVED");
  world.wait_for_guest();
  estate.reeve_json({"vm", "save", "web"});
  CHECK(world.state() == "STATE_SAVED");
  refuses({"vm", "start", "web"}, "VM_SAVED");
  refuses({"vm", "save", "web"}, "VM_NOT_RUNNING");
  refuses({"vm", "update", "web", "--cpus", "2"}, "VM_SAVED");
  refuses({"vm", "stop", "web"}, "VM_SAVED");
  estate.kill_agent();  // what is saved is on the disk
  estate.wait_until("the host is seen gone", [&] {
    return estate.reeve_json({"host", "list"})[0].value("state", "") != "STATE_CONNECTED";
  });
  const auto console = estate.reeve({"vm", "console", "web", "--no-follow"});
  CHECK(console.exit_code == 6);
  CHECK(console.errors.find("HOST_UNREACHABLE") != std::string::npos);
  estate.start_agent();
  estate.wait_until("the machine is seen saved again", [&] {
    return estate.reeve_json({"host", "list"})[0].value("state", "") == "STATE_CONNECTED" &&
           world.state() == "STATE_SAVED";
  });
  estate.reeve_json({"vm", "restore", "web"});
  CHECK(world.state() == "STATE_RUNNING");
  CHECK(world.boots() == 1);
  refuses({"vm", "restore", "web"}, "VM_NOT_SAVED");
  estate.reeve_json({"vm", "save", "web"});
  estate.reeve_json({"vm", "stop", "web", "--grace", "0"});
  CHECK(world.state() == "STATE_STOPPED");
  estate.reeve_json({"vm", "start", "web"});
  REQUIRE(estate.reeve({"vm", "console", "web", "--timeout", "30", "--no-follow"}).exit_code == 0);
  estate.wait_until("it boots anew", [&] { return world.boots() == 2; });
  estate.reeve_json({"vm", "save", "web"});
  estate.reeve_json({"vm", "delete", "web", "--force", "--yes"});
  CHECK(estate.query("select count(*) from vm") == "0");
}

}  // namespace reeve::test
