#include <catch2/catch.hpp>

#include "tests/agent/link/fake_server.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;
namespace av1 = reeve::agent::v1;
using Vm = reeve::v1::VirtualMachine;

namespace {

struct Scene {
  explicit Scene(std::uint64_t seed = 1) : world(seed), server(world), host(world, server) {}

  std::string key(int step = 0) { return new_uuid(world.random()) + "/" + std::to_string(step); }
  /// Runs an action and returns its result, acknowledged.
  av1::StepResult do_step(const av1::Action& action) {
    const auto id = key();
    server.run(id, action);
    REQUIRE(world.run_until([&] { return server.result(id).has_value(); }, 10min));
    server.acknowledge(id);
    return *server.result(id);
  }
  void connect() {
    host.start();
    REQUIRE(world.run_until([&] { return host.core->is_connected(); }, 10s));
    world.run_for(1s);
  }
  std::optional<av1::StepSeen> seen(const std::string& id) {
    for (const auto& message : server.received)
      if (message.has_step_seen() && message.step_seen().key() == id) return message.step_seen();
    return {};
  }

  SimWorld world;
  FakeServer server;
  FakeHost host;
};

}  // namespace

TEST_CASE("a guest is prepared, defined, started and stopped, and the server sees each state",
          "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  CHECK_FALSE(s.do_step(prepare(spec)).has_error());
  CHECK_FALSE(s.do_step(define(spec)).has_error());
  CHECK(s.server.picture.guests[spec.uid()].state() == Vm::STATE_STOPPED);
  CHECK_FALSE(s.do_step(start(spec)).has_error());
  CHECK(s.server.picture.guests[spec.uid()].state() == Vm::STATE_RUNNING);
  const auto stopped = s.do_step(stop(spec, 30'000));
  CHECK(stopped.facts().at("how") == "shutdown");
  CHECK(s.server.picture.guests[spec.uid()].state() == Vm::STATE_STOPPED);
  CHECK_FALSE(s.server.drifted);
  s.world.run_for(1s);
  CHECK(s.host.core->unacknowledged_results() == 0);
  CHECK(s.host.outbox_disk.results.empty());
}

TEST_CASE("a guest that ignores the request is powered off after the grace", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "deaf");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.do_step(start(spec));
  s.host.hypervisor.set_habits(spec.uid(), {.ignores_shutdown = true});
  const auto before = s.world.clock().monotonic();
  CHECK(s.do_step(stop(spec, 30'000)).facts().at("how") == "power-off-after-grace");
  CHECK(s.world.clock().monotonic() - before >= 30s);
  CHECK(s.world.clock().monotonic() - before < 32s);
}

TEST_CASE("a guest that vanished is off: stopping it succeeds", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "gone");
  CHECK(s.do_step(stop(spec, 30'000)).facts().at("how") == "absent");
  const auto id = s.key();
  s.server.observe(id, stop(spec, 0));
  REQUIRE(s.world.run_until([&] { return s.seen(id).has_value(); }, 5s));
  CHECK(s.seen(id)->outcome() == av1::StepSeen::OUTCOME_DONE);
}

TEST_CASE("a reboot ends when the guest restarted, and with a reset when it will not", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.do_step(start(spec));
  av1::Action reboot;
  reboot.mutable_reboot_guest()->set_uid(spec.uid());
  reboot.mutable_reboot_guest()->set_hypervisor("sim");
  reboot.mutable_reboot_guest()->set_grace_ms(60'000);
  CHECK(s.do_step(reboot).facts().at("how") == "reboot");
  s.host.hypervisor.set_habits(spec.uid(), {.ignores_shutdown = true});
  const auto forced = s.do_step(reboot);
  CHECK(forced.facts().at("how") == "reset-after-grace");
  CHECK(forced.facts().at("outcome") == "reset: the guest did not restart within 60 s");
}

TEST_CASE("a result is repeated after a reconnect until it is acknowledged", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  const auto id = s.key();
  s.server.run(id, prepare(spec));
  REQUIRE(s.world.run_until([&] { return s.server.count_results(id) == 1; }, 10s));
  s.server.cut();
  REQUIRE(s.world.run_until([&] { return s.server.count_results(id) == 2; }, 60s));
  s.server.acknowledge(id);
  s.world.run_for(5s);
  s.server.cut();
  s.world.run_for(60s);
  CHECK(s.host.core->is_connected());
  CHECK(s.server.count_results(id) == 2);
}

TEST_CASE("a step that runs is not begun a second time", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.do_step(start(spec));
  const auto id = s.key();
  s.server.run(id, stop(spec, 30'000));
  s.world.run_for(1s);
  s.server.run(id, stop(spec, 30'000));
  s.server.observe(id, stop(spec, 30'000));
  s.world.run_for(100ms);
  REQUIRE(s.seen(id));
  CHECK(s.seen(id)->outcome() == av1::StepSeen::OUTCOME_IN_PROGRESS);
  s.world.run_for(60s);
  CHECK(s.server.count_results(id) == 1);
}

TEST_CASE("the next attempt at a step runs, and results say whose they are", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.host.hypervisor.inject(agent::SimFault::fail(agent::SimVerb::Start));
  const auto id = s.key();
  const auto attempt = [&](std::uint32_t number, int results) {
    agent::v1::ConnectResponse message;
    message.mutable_run_step()->set_key(id);
    message.mutable_run_step()->set_epoch(s.server.epoch);
    message.mutable_run_step()->set_attempt(number);
    *message.mutable_run_step()->mutable_action() = start(spec);
    s.server.send(message);
    REQUIRE(s.world.run_until([&] { return s.server.count_results(id) == results; }, 10s));
    return *s.server.result(id);
  };
  CHECK(attempt(1, 1).has_error());
  CHECK(attempt(1, 2).has_error());  // said again, not done again
  const auto second = attempt(2, 3);
  CHECK_FALSE(second.has_error());
  CHECK(second.attempt() == 2);
  s.server.cut();
  REQUIRE(s.world.run_until([&] { return s.server.count_results(id) == 4; }, 60s));
  CHECK(s.server.result(id)->attempt() == 2);
}

TEST_CASE("steps on one guest take turns, a slow one does not hold up another guest", "[agent]") {
  Scene s;
  s.connect();
  const auto slow = a_guest(s.world, "slow");
  const auto quick = a_guest(s.world, "quick");
  for (const auto& spec : {slow, quick}) {
    s.do_step(prepare(spec));
    s.do_step(define(spec));
    s.do_step(start(spec));
  }
  s.host.hypervisor.set_habits(slow.uid(), {.ignores_shutdown = true});
  const auto stopping = s.key(1);
  const auto starting = s.key(2);
  const auto other = s.key(3);
  s.server.run(stopping, stop(slow, 20'000));
  s.server.run(starting, start(slow));
  s.server.run(other, stop(quick, 20'000));
  REQUIRE(s.world.run_until([&] { return s.server.result(other).has_value(); }, 10s));
  CHECK_FALSE(s.server.result(starting));
  REQUIRE(s.world.run_until([&] { return s.server.result(starting).has_value(); }, 60s));
  CHECK(s.server.picture.guests[slow.uid()].state() == Vm::STATE_RUNNING);
  CHECK(s.host.hypervisor.starts_of(slow.uid()) == 2);
}

TEST_CASE("a waiting step is cancelled at once and a waiting stop gives up", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.do_step(start(spec));
  s.host.hypervisor.set_habits(spec.uid(), {.ignores_shutdown = true});
  const auto first = s.key(1);
  const auto second = s.key(2);
  s.server.run(first, stop(spec, 600'000));
  s.server.run(second, start(spec));
  s.world.run_for(1s);
  for (const auto& id : {second, first}) {
    av1::ConnectResponse message;
    message.mutable_cancel_step()->set_key(id);
    s.server.send(message);
  }
  s.world.run_for(2s);
  REQUIRE(s.server.result(first));
  REQUIRE(s.server.result(second));
  CHECK(s.server.result(first)->error().detail().reason() == "STEP_CANCELLED");
  CHECK(s.server.result(second)->error().detail().reason() == "STEP_CANCELLED");
  CHECK(s.server.picture.guests[spec.uid()].state() == Vm::STATE_RUNNING);
}

TEST_CASE("the agent reconnects for ever, without hurry, and sends everything again", "[agent]") {
  Scene s;
  s.connect();
  s.server.reachable = false;
  s.server.cut();
  const int before = s.server.connections;
  s.world.run_for(1h);
  const int tries = s.server.connections - before;
  CHECK(tries > 60);
  CHECK(tries < 400);
  s.server.reachable = true;
  s.host.hypervisor.add_foreign({.uid = new_uuid(s.world.random()), .display_name = "theirs"});
  REQUIRE(s.world.run_until([&] { return s.host.core->is_connected(); }, 60s));
  s.world.run_for(2s);
  CHECK(s.server.picture.guests.size() == 1);
  CHECK_FALSE(s.server.drifted);
}

TEST_CASE("a silent server is left for a new connection", "[agent]") {
  Scene s;
  s.connect();
  s.server.answers = false;
  const int before = s.server.connections;
  REQUIRE(s.world.run_until([&] { return s.server.connections > before; }, 60s));
  s.server.answers = true;
  REQUIRE(s.world.run_until([&] { return s.host.core->is_connected(); }, 120s));
}

TEST_CASE("a lower epoch is refused, also by an agent that was restarted", "[agent]") {
  Scene s;
  s.server.epoch = 7;
  s.connect();
  CHECK(s.host.core->epoch() == 7);
  s.host.crash();
  s.server.epoch = 6;
  s.host.start();
  s.world.run_for(5min);
  CHECK_FALSE(s.host.core->is_connected());
  const auto spec = a_guest(s.world, "web");
  s.server.run(s.key(), prepare(spec));
  s.world.run_for(1s);
  CHECK(s.host.disk.guests.empty());
  s.server.epoch = 8;
  CHECK(s.world.run_until([&] { return s.host.core->is_connected(); }, 2min));
}

TEST_CASE("a step of an earlier epoch is not executed", "[agent]") {
  Scene s;
  s.server.epoch = 7;
  s.connect();
  s.server.epoch = 6;
  s.server.run(s.key(), prepare(a_guest(s.world, "web")));
  s.world.run_for(100ms);
  CHECK(s.host.disk.guests.empty());
  CHECK_FALSE(s.host.core->is_connected());
}

TEST_CASE("a refused host keeps asking now and then", "[agent]") {
  Scene s;
  s.server.refusal.emplace();
  s.server.refusal->set_reason("HOST_REVOKED");
  s.host.start();
  s.world.run_for(10min);
  CHECK(s.server.connections > 10);
  CHECK(s.server.connections < 60);
  s.server.refusal.reset();
  CHECK(s.world.run_until([&] { return s.host.core->is_connected(); }, 2min));
}

TEST_CASE("what an unknown step did is found by looking", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  const auto ask = [&](const av1::Action& action) {
    const auto id = s.key();
    s.server.observe(id, action);
    REQUIRE(s.world.run_until([&] { return s.seen(id).has_value(); }, 5s));
    return s.seen(id)->outcome();
  };
  CHECK(ask(prepare(spec)) == av1::StepSeen::OUTCOME_NOT_DONE);
  s.do_step(prepare(spec));
  CHECK(ask(prepare(spec)) == av1::StepSeen::OUTCOME_DONE);
  CHECK(ask(define(spec)) == av1::StepSeen::OUTCOME_NOT_DONE);
  s.do_step(define(spec));
  CHECK(ask(define(spec)) == av1::StepSeen::OUTCOME_DONE);
  CHECK(ask(start(spec)) == av1::StepSeen::OUTCOME_NOT_DONE);
  s.do_step(start(spec));
  CHECK(ask(start(spec)) == av1::StepSeen::OUTCOME_DONE);
  CHECK(ask(stop(spec, 0)) == av1::StepSeen::OUTCOME_NOT_DONE);
  s.host.hypervisor.go_away();
  CHECK(ask(start(spec)) == av1::StepSeen::OUTCOME_UNKNOWABLE);
}

TEST_CASE("a hypervisor that goes away takes no guest out of the picture", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.host.hypervisor.go_away();
  REQUIRE(
      s.world.run_until([&] { return !s.server.picture.hypervisors["sim"].available(); }, 2min));
  CHECK(s.server.picture.guests.contains(spec.uid()));
  s.host.hypervisor.come_back();
  REQUIRE(s.world.run_until([&] { return s.server.picture.hypervisors["sim"].available(); }, 2min));
  s.host.hypervisor.vanish(spec.uid());
  REQUIRE(s.world.run_until([&] { return !s.server.picture.guests.contains(spec.uid()); }, 2min));
  CHECK_FALSE(s.server.drifted);
}

TEST_CASE("while guests were never listed their hypervisor is unavailable, and it is tried again",
          "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.host.crash();
  s.host.hypervisor.inject(agent::SimFault::fail(agent::SimVerb::List), 3);
  s.server.picture = {};
  s.host.start();
  REQUIRE(s.world.run_until([&] { return s.server.picture.hypervisors.contains("sim"); }, 10s));
  const auto& shown = s.server.picture.hypervisors["sim"];
  CHECK_FALSE(shown.available());
  CHECK(shown.description() == "its guests could not be listed: injected failure");
  CHECK(s.server.picture.guests.empty());
  // One guest that can be seen does not stand for all.
  s.host.hypervisor.crash_guest(spec.uid());
  s.world.run_for(100ms);
  CHECK_FALSE(s.server.picture.hypervisors["sim"].available());
  REQUIRE(s.world.run_until([&] { return s.server.picture.hypervisors["sim"].available(); }, 10s));
  CHECK(s.server.picture.hypervisors["sim"].description().empty());
  CHECK(s.server.picture.guests.contains(spec.uid()));
  CHECK_FALSE(s.server.drifted);
}

TEST_CASE("a look at a guest that failed is repeated soon", "[agent]") {
  Scene s;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.do_step(start(spec));
  s.world.run_for(61s);  // away from the next poll
  s.host.hypervisor.inject(agent::SimFault::fail(agent::SimVerb::Get));
  s.host.hypervisor.crash_guest(spec.uid());
  const auto& guest = s.server.picture.guests[spec.uid()];
  CHECK(s.world.run_until([&] { return guest.state() == Vm::STATE_CRASHED; }, 5s));
}

TEST_CASE("a definition made by others is never changed", "[agent]") {
  Scene s;
  s.connect();
  auto spec = a_guest(s.world, "theirs");
  s.host.hypervisor.add_foreign({.uid = spec.uid(), .display_name = "theirs"});
  s.do_step(prepare(spec));
  CHECK(s.do_step(define(spec)).error().detail().reason() == "GUEST_NOT_MANAGED");
  av1::Action undefine;
  undefine.mutable_undefine_guest()->set_uid(spec.uid());
  undefine.mutable_undefine_guest()->set_hypervisor("sim");
  CHECK(s.do_step(undefine).error().detail().reason() == "GUEST_NOT_MANAGED");
}

TEST_CASE("a crash at any moment loses no acknowledged work and nothing runs twice", "[agent]") {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    Scene s(seed);
    s.connect();
    const auto spec = a_guest(s.world, "web");
    s.do_step(prepare(spec));
    s.do_step(define(spec));
    const auto id = s.key();
    s.server.run(id, start(spec));
    for (auto steps = s.world.random().below(25); steps > 0; --steps) s.world.step();
    s.host.crash();
    s.host.start();
    REQUIRE(s.world.run_until([&] { return s.host.core->is_connected(); }, 2min));
    s.world.run_for(2s);
    if (!s.server.result(id)) {
      s.server.observe(id, start(spec));
      REQUIRE(s.world.run_until([&] { return s.seen(id).has_value(); }, 5s));
      if (s.seen(id)->outcome() == av1::StepSeen::OUTCOME_NOT_DONE) {
        s.server.run(id, start(spec));
        REQUIRE(s.world.run_until([&] { return s.server.result(id).has_value(); }, 5s));
      }
    }
    CHECK(s.host.hypervisor.starts_of(spec.uid()) == 1);
    CHECK_FALSE(s.server.drifted);
  }
}

TEST_CASE("samples come at the rhythm the server asks for, and stop with the connection",
          "[agent]") {
  Scene s;
  s.server.metrics_ms = 10'000;
  s.connect();
  const auto spec = a_guest(s.world, "web");
  s.do_step(prepare(spec));
  s.do_step(define(spec));
  s.do_step(start(spec));
  s.server.received.clear();
  s.world.run_for(65s);
  int batches = 0;
  int with_guest = 0;
  for (const auto& message : s.server.received) {
    if (message.has_metrics()) ++batches;
    if (message.has_metrics() && message.metrics().guests_size() == 1 &&
        message.metrics().guests(0).use().cpu_basis_points() > 0)
      ++with_guest;
  }
  CHECK(batches == 6);
  CHECK(with_guest >= 5);
}

TEST_CASE("an outbox on a full disk reports the result all the same", "[agent]") {
  Scene s;
  s.connect();
  s.host.outbox_disk.full = true;
  const auto spec = a_guest(s.world, "web");
  const auto id = s.key();
  s.server.run(id, prepare(spec));
  REQUIRE(s.world.run_until([&] { return s.server.result(id).has_value(); }, 5s));
  CHECK_FALSE(s.server.result(id)->has_error());
}

TEST_CASE("what is sent in full after an import has the image, however long the workers' queue is",
          "[agent]") {
  Scene s;
  s.connect();
  s.host.disk.host_files["/images/base"] = {.size_bytes = 1 << 20, .sha256 = std::string(64, 'a')};
  s.host.worker_queue = 2s;
  av1::Action import;
  import.mutable_import_image()->set_uid(new_uuid(s.world.random()));
  import.mutable_import_image()->set_kind(reeve::v1::Image::KIND_DISK);
  import.mutable_import_image()->set_format(reeve::v1::DISK_FORMAT_RAW);
  import.mutable_import_image()->set_host_path("/images/base");
  REQUIRE_FALSE(s.do_step(import).has_error());
  // The job has ended: the server asks for everything afresh.
  const int before = s.server.full_observations;
  av1::ConnectResponse resync;
  resync.mutable_resync();
  s.server.send(resync);
  REQUIRE(s.world.run_until([&] { return s.server.full_observations > before; }, 1min));
  CHECK(s.server.images == std::vector<std::string>{import.import_image().uid()});
}

TEST_CASE("images that cannot be listed are said to be unknown until they can", "[agent]") {
  Scene s;
  const auto uid = new_uuid(s.world.random());
  s.host.disk.images[uid].set_uid(uid);
  s.host.disk.fault = [](std::string_view point) -> Status {
    if (point == "images") return Error(Code::Internal, "SYSTEM_CALL", "open: too many open files");
    return {};
  };
  s.connect();
  CHECK(s.server.full_observations == 1);  // its guests are not kept back
  CHECK(s.server.images_unknown);
  s.world.run_for(1min);
  CHECK(s.server.full_observations == 1);
  s.host.disk.fault = nullptr;
  REQUIRE(s.world.run_until([&] { return s.server.full_observations == 2; }, 1min));
  CHECK_FALSE(s.server.images_unknown);
  CHECK(s.server.images == std::vector<std::string>{uid});
  CHECK_FALSE(s.server.drifted);
}
