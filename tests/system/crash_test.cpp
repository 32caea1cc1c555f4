// Killing server, agent and libvirtd under running guests and half-done jobs: nothing is lost,
// nothing is left.
#include <future>
#include <regex>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/uuid.h"
#include "tests/system/estate.h"

namespace reeve::test {
namespace {

using namespace std::chrono_literals;

int last_heartbeat(const Estate& estate, const std::string& name) {
  const auto console = estate.reeve({"vm", "console", name, "--no-follow"});
  int last = -1;
  const std::regex beat("REEVE-HEARTBEAT ([0-9]+)");
  for (std::sregex_iterator it(console.output.begin(), console.output.end(), beat), end; it != end;
       ++it)
    last = std::stoi((*it)[1]);
  return last;
}

TEST_CASE("guests run on through kill -9 of server, agent and libvirtd", "[system][root]") {
  Estate estate;
  estate.import_quick_guest();
  auto create = Estate::create_arguments("web");
  create.push_back("--start");
  estate.reeve_json(create);
  REQUIRE(estate.reeve({"vm", "console", "web", "--until", "REEVE-HEARTBEAT 1", "--timeout", "90"})
              .exit_code == 0);
  const auto pid_of_guest = [&] { return estate.libvirtd().virsh({"domid", "web"}).output; };
  const auto before = pid_of_guest();
  const int beat = last_heartbeat(estate, "web");
  // A console that stays attached while everything under it goes and comes back.
  const auto attached = [&] {
    return std::stoi(estate.query("select count(*) from audit where method like '%AttachConsole'"));
  };
  const int attached_before = attached();
  auto watcher = std::async(std::launch::async, [&] {
    return estate.reeve({"vm", "console", "web", "--timeout", "150", "--until",
                         "REEVE-HEARTBEAT " + std::to_string(beat + 20) + "\r"});
  });
  estate.wait_until("the console is attached", [&] { return attached() > attached_before; });
  estate.wait_until("the guest beats on", [&] { return last_heartbeat(estate, "web") > beat + 2; });

  estate.kill_server();
  estate.kill_agent();
  estate.libvirtd().kill();
  estate.libvirtd().bring_up();
  estate.start_server();
  estate.start_agent();
  estate.wait_until("the machine is seen running again", [&] {
    const auto vm = estate.vm("web");
    return vm.is_object() && vm.value("state", "") == "STATE_RUNNING" &&
           estate.reeve_json({"host", "list"})[0].value("state", "") == "STATE_CONNECTED";
  });
  estate.wait_until("its heartbeat goes on",
                    [&] { return last_heartbeat(estate, "web") > beat + 2; });
  CHECK(pid_of_guest() == before);
  // One boot only: the ring kept everything, the guest never restarted.
  const auto console = estate.reeve({"vm", "console", "web", "--no-follow"});
  CHECK(times_in(console.output, "REEVE-GUEST UP") == 1);
  for (int i = 1; i <= beat; ++i)
    CHECK(console.output.find("REEVE-HEARTBEAT " + std::to_string(i)) != std::string::npos);
  const auto watched = watcher.get();
  CHECK(watched.exit_code == 0);
  CHECK(watched.errors.find("attaching again") != std::string::npos);
  for (int i = 1; i <= beat + 20; ++i)
    CHECK(times_in(watched.output, "REEVE-HEARTBEAT " + std::to_string(i) + "\r") == 1);
}

/// Whether host and inventory agree: every machine of one is in the other, and there is a folder
/// for each.
void check_no_limbo(Estate& estate) {
  std::set<std::string> in_inventory, on_host, folders;
  for (const auto& vm : estate.reeve_json({"vm", "list"})) {
    in_inventory.insert(vm.at("uid").get<std::string>());
    CHECK(vm.value("active_job", "").empty());
  }
  std::istringstream uuids(estate.libvirtd().virsh({"list", "--all", "--uuid"}).output);
  for (std::string line; std::getline(uuids, line);)
    if (is_uuid(line)) on_host.insert(line);
  for (const auto& entry : std::filesystem::directory_iterator(estate.dir() / "agent/guests"))
    if (is_uuid(entry.path().filename().string())) folders.insert(entry.path().filename().string());
  CHECK(in_inventory == on_host);
  CHECK(in_inventory == folders);
  CHECK(estate.query("select count(*) from job_lock") == "0");
}

TEST_CASE("a job whose server or agent is killed half-way ends, and leaves no limbo",
          "[system][root]") {
  Estate estate;
  estate.import_quick_guest();
  SeededRandom random(20261121);
  constexpr int kRounds = 8;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "vm-" + std::to_string(round);
    const std::string request_id = new_uuid(SystemRandom::instance());
    auto create = Estate::create_arguments(name);
    create.insert(create.end(), {"--start", "--async", "--request-id", request_id});
    const auto job = estate.reeve_json(create).at("name").get<std::string>();
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(400)));
    const auto who = random.below(3);
    CAPTURE(round, who);
    if (who != 1) estate.kill_server();
    if (who != 0) estate.kill_agent();
    if (who != 1) estate.start_server();
    if (who != 0) estate.start_agent();
    const auto ended = estate.reeve_json({"job", "wait", job.substr(5), "--wait", "120"});
    CHECK(ended.at("state") == "STATE_SUCCEEDED");
    // The same request gives the same job, also after the crash.
    CHECK(estate.reeve_json(create).at("name") == job);
    // A job that ended before the kill leaves an agent that may still be on its way back.
    estate.wait_until("the host is there again and the machine deleted", [&] {
      const auto deleted = estate.reeve({"-o", "json", "vm", "delete", name, "--force", "--yes"});
      CHECK(
          (deleted.exit_code == 0 || deleted.errors.find("HOST_UNREACHABLE") != std::string::npos));
      return deleted.exit_code == 0;
    });
  }
  estate.wait_until("the agent's picture has arrived", [&] {
    return estate.reeve_json({"vm", "list"}).empty();
  });
  check_no_limbo(estate);
}

}  // namespace
}  // namespace reeve::test
