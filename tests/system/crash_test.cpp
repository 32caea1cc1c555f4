// Killing server, agent and libvirtd under running guests and half-done jobs: nothing is lost,
// nothing is left.
#include <future>
#include <regex>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "base/file.h"
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

/// What is killed, or cut off, in the middle of a job.
enum class Blow : std::uint8_t { Server, Agent, Both, Link };

void strike(Estate& estate, Blow blow) {
  if (blow == Blow::Link) {
    // Connected and silent for longer than the server waits for a sign of life.
    estate.freeze_agent();
    estate.wait_until("the server gives the host up", [&] {
      return estate.reeve_json({"host", "list"})[0].value("state", "") == "STATE_DISCONNECTED";
    });
    return estate.thaw_agent();
  }
  if (blow != Blow::Agent) estate.kill_server();
  if (blow != Blow::Server) estate.kill_agent();
  if (blow != Blow::Agent) estate.start_server();
  if (blow != Blow::Server) estate.start_agent();
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
    CAPTURE(round, who);  // 0 the server, 1 the agent, 2 both
    strike(estate, static_cast<Blow>(who));
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

/// Waits until every job has ended. Whether a reboot happened leaves no trace, so that one may be
/// parked: a person chooses.
void settle(const Estate& estate) {
  estate.wait_until("every job has ended", [&] {
    bool all = true;
    for (const auto& job : estate.reeve_json({"job", "list"})) {
      const auto state = job.at("state").get<std::string>();
      all = all && (state == "STATE_SUCCEEDED" || state == "STATE_FAILED");
      if (state != "STATE_PARKED") continue;
      CHECK(job.at("kind") == "RebootVm");
      estate.reeve({"job", "resolve", job.at("uid").get<std::string>(),
                    job.at("choices").at(0).at("id").get<std::string>(), "--async"});
    }
    return all;
  });
}

bool is_ready(const Estate& estate) {
  const auto vm = estate.vm("web");
  return estate.reeve_json({"host", "list"})[0].value("state", "") == "STATE_CONNECTED" &&
         (vm.is_null() || vm.value("state", "") != "STATE_UNKNOWN");
}

TEST_CASE("a job of every kind that is killed half-way or cut off ends, and leaves no limbo",
          "[system][root]") {
  using Words = std::vector<std::string>;
  const TempDir images_dir;
  const auto file = (images_dir / "image").string();
  REQUIRE(write_file_durably(file, std::string(48u << 20, 'x')).ok());
  // A cut link is noticed soon.
  Estate estate({.agent_config = "import_dirs = [\"" + images_dir.path().string() + "\"]\n",
                 .server_config = "heartbeat_ms = 300\nhost_timeout_ms = 1500\n"});
  estate.import_quick_guest();
  auto create = Estate::create_arguments("web");
  create.push_back("--start");
  estate.reeve_json(create);
  int times = 0;
  // In this order each finds the machine as it needs it.
  const auto words = [&](int kind) -> Words {
    const auto number = std::to_string(++times);
    switch (kind) {
      case 0:
        return {"image", "import", "extra-" + number, "--host-path", file, "--kind", "kernel"};
      case 1: return {"vm", "reboot", "web", "--grace", "0"};
      case 2: return {"vm", "update", "web", "--memory", std::to_string(256 + times) + "M"};
      case 3: return {"vm", "stop", "web", "--grace", "0"};
      default: return {"vm", "start", "web"};
    }
  };
  SeededRandom random(20261122);
  const auto round = [&](const Words& command, Blow blow) {
    CAPTURE(command, static_cast<int>(blow));
    estate.wait_until("host and machine are there", [&] { return is_ready(estate); });
    auto running = std::async(std::launch::async, [&] { return estate.reeve(command); });
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random.below(250)));
    strike(estate, blow);
    settle(estate);
    running.get();  // it follows the job to its end, or lost the server
  };
  constexpr int kKinds = 5, kBlows = 4;
  for (int i = 0; i < 3 * kKinds; ++i)
    round(words(i % kKinds), static_cast<Blow>((i + i / kKinds) % kBlows));
  round({"vm", "delete", "web", "--force", "--yes"}, Blow::Link);
  estate.wait_until("host and machine are there", [&] { return is_ready(estate); });
  if (!estate.vm("web").is_null()) estate.reeve_json({"vm", "delete", "web", "--force", "--yes"});
  check_no_limbo(estate);
  for (const auto* kind :
       {"ImportImage", "RebootVm", "UpdateVm", "StopVm", "StartVm", "DeleteVm"}) {
    CAPTURE(kind);
    CHECK(estate.query(std::string("select count(*) from job where kind = '") + kind +
                       "' and state = 'succeeded'") != "0");
  }
  // Every image of the inventory is whole and stored, and no other is.
  std::set<std::string> images, stored;
  for (const auto& image : estate.reeve_json({"image", "list"})) {
    CHECK(image.at("state") == "STATE_READY");
    images.insert(image.at("uid").get<std::string>());
  }
  for (const auto& entry : std::filesystem::directory_iterator(estate.dir() / "agent/images"))
    stored.insert(entry.path().filename().string());
  CHECK(images == stored);
}

TEST_CASE("a server that lost its CA says what that means for its hosts", "[system][root]") {
  Estate estate(kSimulated);
  const auto ca = estate.dir() / "server/ca";
  estate.stop_server();
  REQUIRE(estate.server_log().find("there was no CA") == std::string::npos);
  std::filesystem::rename(ca, estate.dir() / "kept");
  estate.start_server();
  estate.wait_until("the server has said so", [&] {
    return estate.server_log().find("there was no CA") != std::string::npos;
  });
  estate.stop_server();
  std::filesystem::remove_all(ca);
  std::filesystem::rename(estate.dir() / "kept", ca);
  estate.start_server();
  estate.wait_until("the host is back", [&] {
    return estate.reeve_json({"host", "list"}).at(0).at("state") == "STATE_CONNECTED";
  });
}

}  // namespace
}  // namespace reeve::test
