// tests/agent/driver/sim_test.cpp - the simulated hypervisor's own behaviour: time, faults, events,
// lives.
#include <catch2/catch.hpp>

#include "agent/driver/sim/driver.h"
#include "base/sim_loop.h"

using namespace reeve;
using namespace reeve::agent;
using namespace std::chrono_literals;

namespace {

const std::string kUid = "11111111-2222-4333-8444-555555555555";

struct Bed {
  explicit Bed(SimOptions options = {}) : hypervisor(machine, world.random(), options) {
    make_driver();
  }
  void make_driver() {
    driver.reset();
    driver = std::make_unique<SimDriver>(hypervisor);
    driver->watch([this](std::string uid) { heard.push_back(std::move(uid)); });
  }
  void define_running() {
    REQUIRE(driver->define({.uid = kUid, .display_name = "web"}).ok());
    REQUIRE(driver->start(kUid).ok());
  }
  GuestState state() { return driver->get(kUid).value().state; }

  SimWorld world{7};
  SimLoop machine{world};
  SimHypervisor hypervisor;
  std::unique_ptr<SimDriver> driver;
  std::vector<std::string> heard;
};

}  // namespace

TEST_CASE("a simulated guest shuts down after its delay and tells the listener", "[sim]") {
  Bed bed;
  bed.define_running();
  REQUIRE(bed.driver->request_shutdown(kUid).ok());
  bed.world.run_for(1s);
  CHECK(bed.state() == GuestState::Running);
  bed.heard.clear();
  bed.world.run_for(2s);
  CHECK(bed.state() == GuestState::Stopped);
  CHECK(bed.heard == std::vector{kUid});
}

TEST_CASE("a guest that ignores the request runs until it is powered off", "[sim]") {
  Bed bed;
  bed.define_running();
  bed.hypervisor.set_habits(kUid, {.ignores_shutdown = true});
  REQUIRE(bed.driver->request_shutdown(kUid).ok());
  bed.world.run_for(1h);
  CHECK(bed.state() == GuestState::Running);
  CHECK(bed.driver->power_off(kUid).ok());
  CHECK(bed.state() == GuestState::Stopped);
}

TEST_CASE("a shutdown asked of one run does not end the next", "[sim]") {
  Bed bed;
  bed.define_running();
  REQUIRE(bed.driver->request_shutdown(kUid).ok());
  REQUIRE(bed.driver->power_off(kUid).ok());
  REQUIRE(bed.driver->start(kUid).ok());
  bed.world.run_for(1h);
  CHECK(bed.state() == GuestState::Running);
  CHECK(bed.hypervisor.starts_of(kUid) == 2);
}

TEST_CASE("guests outlive the driver, and a dead driver hears nothing", "[sim]") {
  Bed bed;
  bed.define_running();
  bed.driver.reset();
  bed.heard.clear();
  bed.hypervisor.crash_guest(kUid);
  bed.world.run_for(1s);
  CHECK(bed.heard.empty());
  bed.make_driver();
  CHECK(bed.state() == GuestState::Crashed);
}

TEST_CASE("an injected failure is met once, without effect", "[sim]") {
  Bed bed;
  REQUIRE(bed.driver->define({.uid = kUid, .display_name = "web"}).ok());
  bed.hypervisor.inject(SimFault::fail(SimVerb::Start));
  CHECK(bed.driver->start(kUid).error().reason() == "HYPERVISOR_ERROR");
  CHECK(bed.state() == GuestState::Stopped);
  CHECK(bed.driver->start(kUid).ok());
}

TEST_CASE("a hung call answers busy and may work now, later or never", "[sim]") {
  using Effect = SimFault::Effect;
  const auto effect = GENERATE(Effect::None, Effect::Now, Effect::Later);
  Bed bed;
  REQUIRE(bed.driver->define({.uid = kUid, .display_name = "web"}).ok());
  bed.hypervisor.inject(SimFault::hang(SimVerb::Start, effect, 10s));
  const Status answer = bed.driver->start(kUid);
  CHECK(answer.error().code() == Code::DeadlineExceeded);
  CHECK(answer.error().reason() == "HYPERVISOR_BUSY");
  CHECK((bed.state() == GuestState::Running) == (effect == Effect::Now));
  bed.world.run_for(11s);
  CHECK((bed.state() == GuestState::Running) == (effect != Effect::None));
}

TEST_CASE("a hypervisor that went away refuses all and says all may have changed on return",
          "[sim]") {
  Bed bed;
  bed.define_running();
  bed.world.run_for(1s);
  bed.heard.clear();
  bed.hypervisor.go_away();
  CHECK(bed.driver->list().error().reason() == "HYPERVISOR_DOWN");
  CHECK(bed.driver->start(kUid).error().code() == Code::Unavailable);
  CHECK_FALSE(bed.driver->facts().available);
  bed.hypervisor.crash_guest(kUid);
  bed.hypervisor.come_back();
  bed.world.run_for(1s);
  CHECK(bed.heard == std::vector<std::string>{""});
  CHECK(bed.state() == GuestState::Crashed);
}

TEST_CASE("lost events stay lost while states go on", "[sim]") {
  Bed bed;
  bed.define_running();
  bed.world.run_for(1s);
  bed.heard.clear();
  bed.hypervisor.lose_events(true);
  bed.hypervisor.guest_powers_off(kUid);
  bed.hypervisor.lose_events(false);
  bed.world.run_for(1s);
  CHECK(bed.heard.empty());
  CHECK(bed.state() == GuestState::Stopped);
}

TEST_CASE("a vanished guest and a power cut show as they would", "[sim]") {
  Bed bed;
  bed.define_running();
  bed.hypervisor.lose_power();
  CHECK(bed.state() == GuestState::Stopped);
  bed.hypervisor.vanish(kUid);
  CHECK(bed.driver->get(kUid).error().reason() == "GUEST_NOT_FOUND");
}

TEST_CASE("faults by chance repeat with the seed", "[sim]") {
  const auto play = [] {
    Bed bed;
    bed.hypervisor.set_chances({.fail = 200, .busy_none = 100, .busy_now = 100, .busy_later = 100});
    std::string story;
    for (int i = 0; i < 200; ++i) {
      const bool defined = bed.driver->define({.uid = kUid, .display_name = "web"}).ok();
      const bool started = bed.driver->start(kUid).ok();
      const bool stopped = bed.driver->power_off(kUid).ok();
      bed.world.run_for(1s);
      story += defined ? 'd' : '-';
      story += started ? 's' : '-';
      story += stopped ? 'p' : '-';
    }
    return story;
  };
  const auto first = play();
  CHECK(first == play());
  CHECK(first.find('-') != std::string::npos);
  CHECK(first.find("dsp") != std::string::npos);
}

TEST_CASE("a simulated hypervisor without abilities says so", "[sim]") {
  Bed bed({.events = false, .statistics = false, .saved_state = false});
  bed.define_running();
  CHECK_FALSE(bed.driver->watch([](std::string) {}));
  CHECK(bed.driver->use().value().empty());
  CHECK(bed.driver->saved_state() == nullptr);
}
