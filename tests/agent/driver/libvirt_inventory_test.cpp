// tests/agent/driver/libvirt_inventory_test.cpp - listing, names, foreign guests and events, on
// libvirt's own test driver: a private world per connection, no daemon, no privileges.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include "agent/driver/libvirt/driver.h"
#include "base/uuid.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::agent;
using namespace std::chrono_literals;

namespace {

std::string domain_xml(const std::string& name, const std::string& uid, const std::string& inside) {
  return "<domain type='test'><name>" + name + "</name><uuid>" + uid +
         "</uuid><memory>65536</memory><vcpu>1</vcpu><os><type>hvm</type></os>" + inside +
         "</domain>";
}

/// A test driver whose world begins with `domains`.
std::unique_ptr<agent::libvirt::LibvirtDriver> open(const test::TempDir& dir,
                                                    const std::string& domains) {
  const auto path = dir / "node.xml";
  std::ofstream(path) << "<node><cpu><mhz>2000</mhz><model>x</model></cpu><memory>4194304</memory>"
                      << domains << "</node>";
  auto driver = std::move(agent::libvirt::LibvirtDriver::create(
                              {.uri = "test://" + path.string(), .first_attempt = 60s},
                              RealClock::instance(), SystemRandom::instance()))
                    .value();
  INFO(driver->facts().description);
  REQUIRE(driver->facts().available);
  return driver;
}

template <class Work>
std::chrono::microseconds time_of(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() -
                                                               begin);
}

std::string uid_number(int n) {
  auto digits = std::to_string(n);
  return "00000000-0000-4000-8000-" + std::string(12 - digits.size(), '0') + digits;
}

const std::string kWeb = uid_number(1);

}  // namespace

TEST_CASE("a guest of others is listed, and not as ours", "[libvirt]") {
  const test::TempDir dir;
  const auto driver = open(dir, domain_xml("theirs", kWeb, ""));
  const auto list = driver->list().value();
  REQUIRE(list.size() == 1);
  CHECK(list[0].display_name == "theirs");
  CHECK_FALSE(list[0].managed);
  CHECK(list[0].memory_mib == 64);
}

TEST_CASE("a guest whose definition cannot be read does not hide the others", "[libvirt]") {
  const test::TempDir dir;
  std::string nested;
  for (int i = 0; i < 100; ++i) nested = "<a>" + nested + "</a>";
  nested = "<metadata><o:odd xmlns:o='urn:odd'>" + nested + "</o:odd></metadata>";
  const auto driver =
      open(dir, domain_xml("odd", kWeb, nested) + domain_xml("plain", uid_number(2), ""));
  REQUIRE(driver->get(kWeb).error().reason() == "HYPERVISOR_ERROR");
  const auto list = driver->list().value();
  REQUIRE(list.size() == 2);
  const auto odd = std::find_if(list.begin(), list.end(),
                                [](const GuestSeen& seen) { return seen.uid == kWeb; });
  REQUIRE(odd != list.end());
  CHECK(odd->display_name == "odd");
  CHECK(odd->state == GuestState::Running);
  CHECK(odd->state_reason.find("nested too deeply") != std::string::npos);
  CHECK_FALSE(odd->managed);
  CHECK(odd->cpus == 1);
  CHECK(odd->memory_mib == 64);
}

TEST_CASE("a name that others took gets our uid behind it, and stays the display name",
          "[libvirt]") {
  const test::TempDir dir;
  const auto driver = open(dir, domain_xml("web", kWeb, ""));
  const GuestDefinition ours{.uid = uid_number(2), .display_name = "web"};
  REQUIRE(driver->define(ours).ok());
  CHECK(driver->get(ours.uid).value().display_name == "web");
  CHECK(driver->list().value().size() == 2);
}

TEST_CASE("a changed definition keeps what others wrote into it", "[libvirt]") {
  const test::TempDir dir;
  const auto driver =
      open(dir, domain_xml("web", kWeb,
                           "<metadata><x:note xmlns:x='urn:somebody'>keep</x:note></metadata>"
                           "<devices><interface type='network'><mac address='52:54:00:11:22:33'/>"
                           "<source network='default'/></interface></devices>"));
  const GuestDefinition guest{.uid = kWeb, .display_name = "web", .cpus = 2, .memory_mib = 96};
  const auto defined = driver->define(guest);
  INFO((defined.ok() ? "" : defined.error().message()));
  REQUIRE(defined.ok());
  REQUIRE(driver->power_off(kWeb).ok());  // guests of the file run from the beginning
  const auto seen = driver->get(kWeb).value();
  CHECK(seen.managed);
  CHECK(seen.cpus == 2);
  CHECK(seen.memory_mib == 96);
  CHECK(driver->define(guest).value().empty());
}

TEST_CASE("a thousand guests are listed, the second time without reading them", "[libvirt]") {
  const test::TempDir dir;
  std::string domains;
  for (int i = 0; i < 1'000; ++i) domains += domain_xml("g" + std::to_string(i), uid_number(i), "");
  const auto driver = open(dir, domains);
  std::vector<GuestSeen> list;
  const auto first = time_of([&] { list = driver->list().value(); });
  REQUIRE(list.size() == 1'000);
  std::chrono::microseconds later = 1h;
  for (int i = 0; i < 5; ++i)
    later = std::min(later, time_of([&] { list = driver->list().value(); }));
  REQUIRE(list.size() == 1'000);
  WARN("1,000 guests: first list " << first.count() << " us, later " << later.count() << " us");
  CHECK(later < first);
  REQUIRE(driver->power_off(uid_number(7)).ok());
  list = driver->list().value();
  const auto changed = std::find_if(list.begin(), list.end(),
                                    [](const auto& guest) { return guest.uid == uid_number(7); });
  CHECK(changed->state == GuestState::Stopped);
}

TEST_CASE("events of one guest come in the order of its changes", "[libvirt]") {
  const test::TempDir dir;
  const auto driver = open(dir, "");
  std::mutex mutex;
  std::vector<std::string> heard;
  REQUIRE(driver->watch([&](std::string uid) {
    std::scoped_lock lock(mutex);
    heard.push_back(std::move(uid));
  }));
  std::vector<std::string> wanted;
  for (int i = 0; i < 20; ++i) {
    REQUIRE(driver->define({.uid = uid_number(i), .display_name = "g" + std::to_string(i)}).ok());
    wanted.push_back(uid_number(i));
  }
  const auto end = std::chrono::steady_clock::now() + 30s;
  const auto complete = [&] {
    std::scoped_lock lock(mutex);
    std::erase(heard, "");
    heard.erase(std::unique(heard.begin(), heard.end()), heard.end());
    return heard == wanted;
  };
  while (!complete() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(5ms);
  CHECK(complete());
  driver->watch(nullptr);
}

TEST_CASE("a hypervisor that is not there is a fact, not a failure", "[libvirt]") {
  const auto driver = std::move(agent::libvirt::LibvirtDriver::create(
                                    {.uri = "qemu+unix:///system?socket=/nonexistent/sock"},
                                    RealClock::instance(), SystemRandom::instance()))
                          .value();
  const auto facts = driver->facts();
  CHECK_FALSE(facts.available);
  CHECK(facts.description.find("/nonexistent/sock") != std::string::npos);
  const auto list = driver->list();
  CHECK(list.error().code() == Code::Unavailable);
  CHECK(list.error().reason() == "HYPERVISOR_DOWN");
  CHECK_FALSE(list.error().remedy().empty());
  CHECK(driver->saved_state() == nullptr);
}

TEST_CASE("drivers without events are polled", "[libvirt]") {
  const auto driver = std::move(agent::libvirt::LibvirtDriver::create(
                                    {.uri = "esx://127.0.0.1:1/?transport=http"},
                                    RealClock::instance(), SystemRandom::instance()))
                          .value();
  CHECK_FALSE(driver->watch([](std::string) {}));
}
