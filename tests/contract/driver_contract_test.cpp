// tests/contract/driver_contract_test.cpp - what every Driver promises; see agent/driver/driver.h.
#include <algorithm>
#include <filesystem>

#include <catch2/catch.hpp>

#include "agent/driver/driver.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/contract/driver_worlds.h"

using namespace reeve;
using namespace reeve::agent;
using reeve::test::Heard;

namespace {

const std::string kNobody = "00000000-0000-4000-8000-000000000000";

std::string reason_of(const Status& status) {
  return status.ok() ? "OK" : std::string(status.error().reason());
}

template <class T>
std::string reason_of(const Result<T>& result) {
  return result.ok() ? "OK" : std::string(result.error().reason());
}

void require_ok(const Status& status) {
  INFO((status.ok() ? "" : status.error().message()));
  REQUIRE(status.ok());
}

void define(test::DriverWorld& world, const GuestDefinition& guest) {
  const auto pending = world.driver().define(guest);
  INFO((pending.ok() ? "" : pending.error().message()));
  REQUIRE(pending.ok());
}

GuestDefinition running_guest(test::DriverWorld& world, const std::string& name) {
  auto guest = world.guest(name);
  define(world, guest);
  require_ok(world.driver().start(guest.uid));
  return guest;
}

}  // namespace

TEMPLATE_TEST_CASE("a defined guest is off, ours and as it was defined", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto guest = world->guest("web");
  guest.cpus = 2;
  guest.memory_mib = 192;
  CHECK(world->driver().define(guest).value().empty());
  const auto seen = world->driver().get(guest.uid).value();
  CHECK(seen.uid == guest.uid);
  CHECK(seen.display_name == "web");
  CHECK(seen.state == GuestState::Stopped);
  CHECK(seen.managed);
  CHECK(seen.cpus == 2);
  CHECK(seen.memory_mib == 192);
  CHECK_FALSE(seen.start_time.has_value());
}

TEMPLATE_TEST_CASE("the list has every guest once", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  CHECK(world->driver().list().value().empty());
  const auto one = world->guest("one");
  const auto two = running_guest(*world, "two");
  define(*world, one);
  auto list = world->driver().list().value();
  REQUIRE(list.size() == 2);
  if (list[0].uid != one.uid) std::swap(list[0], list[1]);
  CHECK(list[0].uid == one.uid);
  CHECK(list[0].state == GuestState::Stopped);
  CHECK(list[1].uid == two.uid);
  CHECK(list[1].state == GuestState::Running);
}

TEMPLATE_TEST_CASE("verbs of the life cycle may be repeated", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto& driver = world->driver();
  const auto guest = world->guest("web");
  define(*world, guest);
  CHECK(driver.define(guest).value().empty());
  require_ok(driver.start(guest.uid));
  require_ok(driver.start(guest.uid));
  CHECK(world->state(guest.uid) == GuestState::Running);
  CHECK(driver.get(guest.uid).value().start_time.has_value());
  require_ok(driver.pause(guest.uid));
  require_ok(driver.pause(guest.uid));
  CHECK(world->state(guest.uid) == GuestState::Paused);
  require_ok(driver.resume(guest.uid));
  require_ok(driver.resume(guest.uid));
  CHECK(world->state(guest.uid) == GuestState::Running);
  require_ok(driver.power_off(guest.uid));
  require_ok(driver.power_off(guest.uid));
  CHECK(world->state(guest.uid) == GuestState::Stopped);
  CHECK_FALSE(driver.get(guest.uid).value().start_time.has_value());
  require_ok(driver.request_shutdown(guest.uid));
  require_ok(driver.undefine(guest.uid));
  require_ok(driver.undefine(guest.uid));
  CHECK(reason_of(driver.get(guest.uid)) == "GUEST_NOT_FOUND");
}

TEMPLATE_TEST_CASE("verbs on a guest that does not exist say so", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto& driver = world->driver();
  for (const std::string& uid : {kNobody, std::string("not a uuid"), std::string()}) {
    CHECK(reason_of(driver.get(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.start(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.request_shutdown(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.request_reboot(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.power_off(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.reset(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.pause(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.resume(uid)) == "GUEST_NOT_FOUND");
    CHECK(reason_of(driver.undefine(uid)) == "OK");
  }
}

TEMPLATE_TEST_CASE("verbs in the wrong state are refused by name", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto& driver = world->driver();
  const auto guest = world->guest("web");
  define(*world, guest);
  CHECK(reason_of(driver.pause(guest.uid)) == "GUEST_STATE");
  CHECK(reason_of(driver.resume(guest.uid)) == "GUEST_STATE");
  CHECK(reason_of(driver.reset(guest.uid)) == "GUEST_STATE");
  CHECK(reason_of(driver.request_reboot(guest.uid)) == "GUEST_STATE");
  require_ok(driver.start(guest.uid));
  const auto refused = driver.undefine(guest.uid);
  CHECK(reason_of(refused) == "GUEST_STATE");
  CHECK(refused.error().message().find("web") != std::string::npos);
  CHECK(world->state(guest.uid) == GuestState::Running);
  require_ok(driver.pause(guest.uid));
  CHECK(reason_of(driver.start(guest.uid)) == "GUEST_STATE");
  CHECK(reason_of(driver.request_shutdown(guest.uid)) == "GUEST_STATE");
  CHECK(reason_of(driver.undefine(guest.uid)) == "GUEST_STATE");
}

TEMPLATE_TEST_CASE("a changed definition of a stopped guest holds at once", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto guest = world->guest("web");
  define(*world, guest);
  guest.cpus = 3;
  guest.memory_mib = 160;
  guest.display_name = "web-2";
  CHECK(world->driver().define(guest).value().empty());
  const auto seen = world->driver().get(guest.uid).value();
  CHECK(seen.cpus == 3);
  CHECK(seen.memory_mib == 160);
  CHECK(seen.display_name == "web-2");
  CHECK(world->driver().list().value().size() == 1);
}

TEMPLATE_TEST_CASE("a changed definition of a running guest waits for its next start", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto guest = running_guest(*world, "web");
  guest.cpus = 2;
  guest.memory_mib = 192;
  const std::vector<std::string> wanted{"spec.cpus", "spec.memory_mib"};
  CHECK(world->driver().define(guest).value() == wanted);
  auto seen = world->driver().get(guest.uid).value();
  CHECK(seen.cpus == 1);
  CHECK(seen.memory_mib == 128);
  CHECK(seen.pending_restart == wanted);
  // A reset is no start: the process goes on, with what it was started with.
  if (world->can("reset")) require_ok(world->driver().reset(guest.uid));
  seen = world->driver().get(guest.uid).value();
  CHECK(seen.cpus == 1);
  CHECK(seen.pending_restart == wanted);
  require_ok(world->driver().power_off(guest.uid));
  require_ok(world->driver().start(guest.uid));
  seen = world->driver().get(guest.uid).value();
  CHECK(seen.cpus == 2);
  CHECK(seen.memory_mib == 192);
  CHECK(seen.pending_restart.empty());
}

TEMPLATE_TEST_CASE("limits hold at once for a running guest, and at its next start", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto guest = running_guest(*world, "web");
  const auto usual = world->limits_from_outside(guest.uid);
  if (!usual) return;  // looked at from outside in the driver's own test, or nobody can here
  const GuestLimits some{.cpu_weight = 300, .cpu_limit_percent = 50, .memory_limit_mib = 512};
  guest.limits = some;
  CHECK(world->driver().define(guest).value().empty());
  CHECK(world->limits_from_outside(guest.uid) == some);
  require_ok(world->driver().power_off(guest.uid));
  require_ok(world->driver().start(guest.uid));
  CHECK(world->limits_from_outside(guest.uid) == some);
  guest.limits = {};
  CHECK(world->driver().define(guest).value().empty());
  CHECK(world->limits_from_outside(guest.uid) == usual);
  guest.limits.cpu_weight = -1;
  CHECK(reason_of(world->driver().define(guest)) == "GUEST_INVALID");
}

TEMPLATE_TEST_CASE("a definition that cannot be is refused and leaves nothing", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto guest = world->guest("web");
  auto bad = guest;
  bad.uid = "../../etc";
  CHECK(reason_of(world->driver().define(bad)) == "GUEST_INVALID");
  bad = guest;
  bad.cpus = 0;
  CHECK(reason_of(world->driver().define(bad)) == "GUEST_INVALID");
  bad = guest;
  bad.memory_mib = -1;
  CHECK(reason_of(world->driver().define(bad)) == "GUEST_INVALID");
  CHECK(world->driver().list().value().empty());
}

TEMPLATE_TEST_CASE("names with odd characters come back as they were given", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  for (const std::string name : {"a/b", "..", "-rf", "with space", "q'uo\"te", "<xml>&amp;",
                                 "ümlaut 漢字 🦊", "%s%n", "new;reboot"}) {
    const auto guest = world->guest(name);
    INFO(name);
    define(*world, guest);
    CHECK(world->driver().get(guest.uid).value().display_name == name);
    require_ok(world->driver().undefine(guest.uid));
  }
}

TEMPLATE_TEST_CASE("two guests of one name are two guests", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  const auto one = world->guest("web");
  const auto two = world->guest("web");
  define(*world, one);
  define(*world, two);
  CHECK(world->driver().get(one.uid).value().display_name == "web");
  CHECK(world->driver().get(two.uid).value().display_name == "web");
  require_ok(world->driver().undefine(one.uid));
  CHECK(world->driver().list().value().size() == 1);
}

TEMPLATE_TEST_CASE("a guest shuts down and reboots when asked", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto& driver = world->driver();
  driver.watch([](std::string) {});
  const auto guest = running_guest(*world, "web");
  world->wait_until_up(guest, 1);
  require_ok(driver.request_reboot(guest.uid));
  // libvirt's test driver reboots by doing nothing.
  if (std::string(TestType::kName) != "libvirt test")
    CHECK(world->eventually([&] { return driver.get(guest.uid).value().reboots > 0; }));
  world->wait_until_up(guest, 2);
  if (world->can("reset")) require_ok(driver.reset(guest.uid));
  CHECK(world->state(guest.uid) == GuestState::Running);
  if (world->can("reset")) world->wait_until_up(guest, 3);
  require_ok(driver.request_shutdown(guest.uid));
  CHECK(world->becomes(guest.uid, GuestState::Stopped));
  CHECK(driver.get(guest.uid).value().state_reason == "shut down");
}

TEMPLATE_TEST_CASE("events name the guest that changed", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  Heard heard;
  const bool has_events = world->driver().watch(heard.listener());
  CHECK(has_events == world->can("events"));
  const auto guest = world->guest("web");
  if (has_events) {
    const auto hears = [&] { return world->eventually([&] { return heard.has(guest.uid); }); };
    define(*world, guest);
    CHECK(hears());
    heard.clear();
    require_ok(world->driver().start(guest.uid));
    CHECK(hears());
    heard.clear();
    require_ok(world->driver().power_off(guest.uid));
    CHECK(hears());
    heard.clear();
    require_ok(world->driver().undefine(guest.uid));
    CHECK(hears());
  }
  world->driver().watch(nullptr);
}

TEMPLATE_TEST_CASE("use is told of running guests and only rises", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  const auto off = world->guest("off");
  define(*world, off);
  const auto guest = running_guest(*world, "web");
  const auto read = [&] {
    const auto all = world->driver().use().value();
    CHECK(std::none_of(all.begin(), all.end(), [&](const auto& u) { return u.uid == off.uid; }));
    return all.empty() ? 0 : all.front().cpu_time_us;
  };
  if (!world->can("statistics")) {
    CHECK(world->driver().use().value().empty());
    return;
  }
  const auto first = read();
  // libvirt's test driver makes its figures up and need not move them.
  CHECK(world->eventually(
      [&] { return read() > first || std::string(TestType::kName) == "libvirt test"; }));
}

TEMPLATE_TEST_CASE("a saved guest is off and comes back paused, then runs", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto* saved_state = world->driver().saved_state();
  CHECK((saved_state != nullptr) == world->can("saved-state"));
  if (saved_state == nullptr) return;
  const auto guest = running_guest(*world, "web");
  world->wait_until_up(guest, 1);
  const std::string path = guest.run_dir + "/memory";
  require_ok(saved_state->save(guest.uid, path));
  CHECK(world->state(guest.uid) == GuestState::Stopped);
  require_ok(saved_state->save(guest.uid, path));
  require_ok(saved_state->restore(guest.uid, path));
  require_ok(saved_state->restore(guest.uid, path));
  CHECK(world->state(guest.uid) == GuestState::Paused);
  require_ok(world->driver().resume(guest.uid));
  require_ok(saved_state->restore(guest.uid, path));
  CHECK(world->state(guest.uid) == GuestState::Running);
  CHECK(world->driver().get(guest.uid).value().managed);
  world->check_goes_on(guest);
}

TEMPLATE_TEST_CASE("a guest that ran since it was saved is not taken for saved", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto& driver = world->driver();
  auto* saved_state = driver.saved_state();
  if (saved_state == nullptr) return;
  const auto guest = running_guest(*world, "web");
  const std::string path = guest.run_dir + "/memory";
  require_ok(saved_state->save(guest.uid, path));
  require_ok(driver.start(guest.uid));
  require_ok(driver.power_off(guest.uid));
  CHECK(reason_of(saved_state->save(guest.uid, path)) == "GUEST_STATE");
}

TEMPLATE_TEST_CASE("a saved state that is missing, cut short or another guest's is refused",
                   "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto& driver = world->driver();
  auto* saved_state = driver.saved_state();
  if (saved_state == nullptr) return;
  const auto guest = running_guest(*world, "web");
  const auto other = running_guest(*world, "other");
  const std::string path = guest.run_dir + "/memory";
  require_ok(saved_state->save(guest.uid, path));
  require_ok(driver.power_off(other.uid));
  CHECK(reason_of(saved_state->restore(other.uid, path)) == "SAVED_STATE_NOT_FOUND");
  CHECK_FALSE(saved_state->restore(guest.uid, path + ".not-there").ok());
  CHECK(world->state(other.uid) == GuestState::Stopped);
  CHECK(world->state(guest.uid) == GuestState::Stopped);
  if (std::filesystem::exists(path)) {  // simulated ones are no files
    const std::string cut = path + ".cut";
    std::filesystem::copy_file(path, cut);
    std::filesystem::resize_file(cut, 500);
    const auto refused = saved_state->restore(guest.uid, cut);
    CHECK_FALSE(refused.ok());
    CHECK(world->state(guest.uid) == GuestState::Stopped);
  }
  require_ok(saved_state->restore(guest.uid, path));
  CHECK(world->state(guest.uid) == GuestState::Paused);
}

TEMPLATE_TEST_CASE("guests outlive the driver that started them", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  const auto guest = running_guest(*world, "web");
  const auto started = world->driver().get(guest.uid).value().start_time;
  if (!world->restart_driver()) return;
  const auto seen = world->driver().get(guest.uid).value();
  CHECK(seen.state == GuestState::Running);
  CHECK(seen.managed);
  CHECK(seen.start_time == started);
}

TEMPLATE_TEST_CASE("a console can be written to, and its log misses nothing", "[driver]",
                   REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  auto* console = world->driver().serial_console();
  CHECK((console != nullptr) == world->can("console"));
  if (console == nullptr) return;
  const auto guest = world->guest("web");
  define(*world, guest);
  CHECK(reason_of(console->console_path(guest.uid)) == "GUEST_STATE");
  require_ok(world->driver().start(guest.uid));
  world->wait_until_up(guest, 1);  // nobody was connected while it booted
  const auto log = console->log_path(guest.uid).value();
  const auto [typed, answer] = world->exchange();
  {
    const auto socket = test::connect_to(console->console_path(guest.uid).value());
    REQUIRE(write_all(socket.get(), as_bytes(typed)).ok());
    CHECK(world->eventually([&] { return test::contains(log, answer); }));
  }
  require_ok(world->driver().power_off(guest.uid));
  CHECK(console->log_path(guest.uid).value() == log);
  CHECK(test::contains(log, "REEVE-GUEST UP"));
  CHECK(test::contains(log, answer));
}

TEMPLATE_TEST_CASE("facts are sorted and complete", "[driver]", REEVE_DRIVER_WORLDS) {
  const auto world = TestType::make();
  const auto facts = world->driver().facts();
  CHECK(facts.available);
  CHECK(facts.description.empty());
  CHECK_FALSE(facts.kind.empty());
  CHECK_FALSE(facts.version.empty());
  CHECK(std::is_sorted(facts.capabilities.begin(), facts.capabilities.end()));
}
