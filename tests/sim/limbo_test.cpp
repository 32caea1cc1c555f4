// No limbo: every kind of job, interrupted at every point of its life by every fault. One failing
// case is replayed with the command that its message prints.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <stdexcept>

#include <catch2/catch.hpp>

#include "base/log.h"
#include "base/uuid.h"
#include "tests/sim/scenario.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;

namespace {

struct Case {
  std::size_t scenario = 0;
  Fault fault = Fault::KillServer;
  int point = 0;  ///< the fault strikes at this point of the job's life; 0: never
  std::uint64_t seed = 1;
  bool twice = false;  ///< every step runs twice, and every undo

  std::string text() const {
    return std::string(scenarios()[scenario].kind) + ":" + name_of(fault) + ":" +
           std::to_string(point) + ":" + std::to_string(seed);
  }
};

struct Outcome {
  int points = 0;  ///< how many there were
  std::string trouble{};
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  bool parked = false;  ///< on the way
};

bool verbose() {
  return std::getenv("REEVE_SIM_VERBOSE") != nullptr;
}

/// A machine that is offered as saved has not run since.
std::string use_what_is_saved(Cluster& cluster) {
  for (const auto& vm : cluster.vms()) {
    if (vm.state() != v1::VirtualMachine::STATE_SAVED) continue;
    v1::RestoreVmRequest request;
    request.set_name(vm.name());
    succeed(cluster, [&](server::Reply<v1::Job> reply) {
      cluster.core().vms().restore(cluster.caller, request, std::move(reply));
    });
    cluster.calm();
  }
  return cluster.broken_promise();
}

Outcome play(const Case& c) {
  Outcome outcome;
  const auto& scenario = scenarios()[c.scenario];
  Cluster cluster(c.seed);
  cluster.boot();
  cluster.steps_run_twice = c.twice;
  const Stage stage = scenario.prepare(cluster);
  cluster.store_points = c.fault == Fault::GuestEndsAlone;
  const std::string request_id = new_uuid(cluster.world.random());
  const Go go = scenario.call(cluster, stage, request_id);
  bool struck = false;
  cluster.on_point = [&](const std::string& name) {
    ++outcome.points;
    if (verbose()) std::cerr << "point " << outcome.points << " " << name << "\n";
    if (struck || outcome.points != c.point) return;
    struck = true;
    // Not in the middle of whoever speaks: the next moment.
    strike(cluster, *cluster.hosts.front(), c.fault);
  };
  const auto answer = cluster.must_answer(go);
  if (!answer.ok()) {
    outcome.trouble =
        "refused: " + std::string(answer.error().reason()) + " " + answer.error().message();
    return outcome;
  }
  const std::string uid = answer.value().uid();
  const auto job = cluster.finish(uid);
  outcome.state = job.state();
  outcome.parked = cluster.times_parked > 0;
  cluster.on_point = nullptr;
  cluster.store_points = false;
  cluster.calm();
  outcome.trouble = cluster.broken_promise();
  if (!outcome.trouble.empty()) {
    outcome.trouble += "; job " + job.ShortDebugString();
    return outcome;
  }
  outcome.trouble = use_what_is_saved(cluster);
  if (!outcome.trouble.empty()) return outcome;
  const auto again = cluster.must_answer(go);
  if (!again.ok() || again.value().uid() != uid)
    outcome.trouble = "the same request_id gave another answer";
  return outcome;
}

int env_number(const char* name, int fallback) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : fallback;
}

std::string replay(const Case& c) {
  return "replay with: REEVE_SIM_CASE=" + c.text() + " build/dev/bin/sim_limbo_test";
}

Case parse_case(const std::string& text) {
  Case c;
  const auto a = text.find(':'), b = text.find(':', a + 1), d = text.find(':', b + 1);
  for (std::size_t i = 0; i < scenarios().size(); ++i)
    if (text.substr(0, a) == scenarios()[i].kind) c.scenario = i;
  for (const Fault fault : kFaults)
    if (text.substr(a + 1, b - a - 1) == name_of(fault)) c.fault = fault;
  c.point = std::atoi(text.substr(b + 1, d - b - 1).c_str());
  c.seed = std::strtoull(text.substr(d + 1).c_str(), nullptr, 10);
  return c;
}

std::size_t scenario_of(std::string_view kind) {
  for (std::size_t i = 0; i < scenarios().size(); ++i)
    if (kind == scenarios()[i].kind) return i;
  throw std::runtime_error("no scenario " + std::string(kind));
}

void be_quiet() {
  log::set_level(log::Level::Error);
  log::set_sink([](std::string_view line) {
    if (verbose()) std::cerr << line << "\n";
  });
}

/// All points of one kind, for every fault.
void walk(std::string_view kind) {
  const std::size_t scenario = scenario_of(kind);
  be_quiet();
  if (const char* one = std::getenv("REEVE_SIM_CASE")) {
    const Case c = parse_case(one);
    if (c.scenario != scenario) return;
    log::set_level(log::Level::Debug);
    const auto outcome = play(c);
    INFO(c.text() << ": " << outcome.trouble);
    CHECK(outcome.trouble.empty());
    return;
  }
  const auto seeds = static_cast<std::uint64_t>(env_number("REEVE_SIM_SEEDS", 1));
  const auto first = static_cast<std::uint64_t>(env_number("REEVE_SIM_FIRST_SEED", 1));
  const int stride = std::max(1, env_number("REEVE_SIM_STRIDE", 1));
  int cases = 0;
  std::map<std::string, int> ends;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    const Case quiet{.scenario = scenario, .seed = seed};
    const auto calm = play(quiet);
    INFO(replay(quiet) << ": " << calm.trouble);
    REQUIRE(calm.trouble.empty());
    REQUIRE(calm.state == v1::Job::STATE_SUCCEEDED);
    for (const Fault fault : kFaults) {
      const int points = play({.scenario = scenario, .fault = fault, .seed = seed}).points;
      const int begin = (static_cast<int>(seed) + static_cast<int>(fault)) % stride;
      for (int point = 1 + begin; point <= points; point += stride) {
        const Case c{.scenario = scenario, .fault = fault, .point = point, .seed = seed};
        const auto outcome = play(c);
        ++cases;
        ++ends[v1::Job::State_Name(outcome.state) + (outcome.parked ? " after PARKED" : "")];
        INFO(replay(c) << ": " << outcome.trouble);
        CHECK(outcome.trouble.empty());
      }
    }
  }
  std::cout << scenarios()[scenario].kind << ": " << cases << " cases";
  for (const auto& [how, count] : ends) std::cout << ", " << count << " " << how.substr(6);
  std::cout << "\n";
}

}  // namespace

TEST_CASE("an interrupted import of an image leaves nothing in limbo", "[sim]") {
  walk("ImportImage");
}
TEST_CASE("an interrupted upload of an image leaves nothing in limbo", "[sim]") {
  walk("UploadImage");
}
TEST_CASE("an interrupted deletion of an image leaves nothing in limbo", "[sim]") {
  walk("DeleteImage");
}
TEST_CASE("an interrupted creation of a machine leaves nothing in limbo", "[sim]") {
  walk("CreateVm");
}
TEST_CASE("an interrupted start leaves nothing in limbo", "[sim]") {
  walk("StartVm");
}
TEST_CASE("an interrupted stop leaves nothing in limbo", "[sim]") {
  walk("StopVm");
}
TEST_CASE("an interrupted reboot leaves nothing in limbo", "[sim]") {
  walk("RebootVm");
}
TEST_CASE("an interrupted pause leaves nothing in limbo", "[sim]") {
  walk("PauseVm");
}
TEST_CASE("an interrupted resume leaves nothing in limbo", "[sim]") {
  walk("ResumeVm");
}
TEST_CASE("an interrupted save leaves nothing in limbo", "[sim]") {
  walk("SaveVm");
}
TEST_CASE("an interrupted restore leaves nothing in limbo", "[sim]") {
  walk("RestoreVm");
}
TEST_CASE("an interrupted change of a machine leaves nothing in limbo", "[sim]") {
  walk("UpdateVm");
}
TEST_CASE("an interrupted deletion of a machine leaves nothing in limbo", "[sim]") {
  walk("DeleteVm");
}

TEST_CASE("every step of every kind may run twice, and every undo", "[sim]") {
  be_quiet();
  for (std::size_t scenario = 0; scenario < scenarios().size(); ++scenario) {
    const auto calm = play({.scenario = scenario, .twice = true});
    INFO(scenarios()[scenario].kind << ": " << calm.trouble);
    CHECK(calm.trouble.empty());
    CHECK(calm.state == v1::Job::STATE_SUCCEEDED);
    for (const Fault fault : {Fault::HypervisorFails, Fault::StoreFails}) {
      for (int point = 1; point <= calm.points; ++point) {
        const Case c{.scenario = scenario, .fault = fault, .point = point, .twice = true};
        const auto outcome = play(c);
        INFO(c.text() << " twice: " << outcome.trouble);
        CHECK(outcome.trouble.empty());
      }
    }
  }
}
