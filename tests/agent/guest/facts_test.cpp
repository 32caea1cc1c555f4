// What guests say of themselves is cut to size whatever they say, and asking them stays cheap
// whatever they do.
#include <catch2/catch.hpp>

#include "agent/guest/answer.h"
#include "agent/guest/rota.h"
#include "tests/agent/guest/hand_clock.h"

namespace reeve::agent {
namespace {

using namespace std::chrono_literals;

GuestFacts named(const std::string& host_name) {
  return {.host_name = host_name};
}

bool is_harmless(const std::string& text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  return text.size() <= kMaxText && text.find("\xc2\x9b") == std::string::npos;
}

}  // namespace

TEST_CASE("texts of a guest are one harmless line", "[guest-agent]") {
  CHECK(tame("Debian GNU/Linux 12") == "Debian GNU/Linux 12");
  CHECK(tame("ümlaut 漢字") == "ümlaut 漢字");
  CHECK(tame("a\x1b[2Jb\r\nc\x7f") == "a[2Jbc");
  CHECK(tame("a\xc2\x9b"
             "31mb") == "a31mb");  // a control sequence in one character
  CHECK(tame("\xff\xfe!") == std::string(2, '?') + "!");
  CHECK(tame(std::string("a\0b", 3)) == "ab");
  CHECK(tame(std::string(255, 'x') + "ü") == std::string(255, 'x'));
  CHECK(tame(std::string(1 << 20, 'x')).size() == kMaxText);
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every.push_back(static_cast<char>(byte));
  CHECK(is_harmless(tame(every)));
  CHECK(is_harmless(tame(every.substr(0x80))));
}

TEST_CASE("facts are few, in an order that stays, and hold addresses only", "[guest-agent]") {
  GuestFacts facts;
  facts.host_name = "evil\x1b]0;title\x07";
  for (int i = 99; i >= 0; --i) {
    GuestNicFacts nic{.name = "eth" + std::to_string(i), .mac = "52:54:00:00:00:01"};
    for (int a = 0; a < 100; ++a) nic.addresses.push_back("10.0.0." + std::to_string(a));
    nic.addresses.insert(nic.addresses.begin(),
                         {"fe80::1", "127.0.0.1", "$(reboot)", "10.0.0.1\n", "", "10.0.0.0"});
    facts.nics.push_back(nic);
  }
  const auto once = bounded(facts);
  REQUIRE(once.nics.size() == 16);
  CHECK(once.nics[0].name == "eth0");
  CHECK(once.nics[0].addresses.size() == 8);
  CHECK(once.nics[0].addresses[0] == "10.0.0.0");
  CHECK(once.host_name == "evil]0;title");
  CHECK(addresses_of(once).size() == 16);
  std::reverse(facts.nics.begin(), facts.nics.end());
  CHECK(bounded(facts) == once);
}

TEST_CASE("link-local addresses come last, loopback ones not at all", "[guest-agent]") {
  const auto facts = bounded(
      {.nics = {
           {.name = "e", .mac = "m", .addresses = {"fe80::1", "::1", "2001:db8::1", "10.0.0.5"}}}});
  CHECK(facts.nics[0].addresses == std::vector<std::string>{"10.0.0.5", "2001:db8::1", "fe80::1"});
}

TEST_CASE("a hostile answer of half a megabyte becomes a few lines", "[guest-agent]") {
  std::string list;
  for (int i = 0; i < 3000; ++i)
    list += std::string(i == 0 ? "" : ",") + R"({"name":")" + std::string(100, 'n') +
            R"(","hardware-address":"52:54:00:00:00:02"})";
  const auto nics = parse_nics(R"({"return":[)" + list + "]}");
  REQUIRE(nics.ok());
  CHECK(bounded({.nics = nics.value()}).nics.size() == 16);
  CHECK_FALSE(parse_os(R"({"return":{"id":")" + std::string(1 << 20, 'x') + R"("}})").ok());
}

TEST_CASE("every guest gets its turn, and silent ones are asked more and more rarely",
          "[guest-agent]") {
  HandClock time;
  Rota rota(time);
  const std::vector<std::string> running{"a", "b"};
  std::map<std::string, int> asked;
  for (int second = 0; second < 3600; ++second, time.advance(1s))
    while (const auto uid = rota.next(running)) {
      ++asked[*uid];
      if (*uid == "a") CHECK(rota.answered(*uid, named("a")) == (asked[*uid] == 1));
    }
  CHECK(asked["a"] == 60);
  CHECK(asked["b"] >= 60);
  CHECK(asked["b"] <= 65);
  CHECK(rota.heard("a")->facts.host_name == "a");
  CHECK_FALSE(rota.heard("b").has_value());
}

TEST_CASE("a guest that says something else each time is asked rarely", "[guest-agent]") {
  HandClock time;
  Rota rota(time);
  int changes = 0;
  for (int second = 0; second < 3600; ++second, time.advance(1s))
    while (const auto uid = rota.next({"a"}))
      if (rota.answered(*uid, named(std::to_string(second)))) ++changes;
  CHECK(changes >= 5);
  CHECK(changes <= 12);
}

TEST_CASE("what a guest said is forgotten when it ends", "[guest-agent]") {
  HandClock time;
  Rota rota(time);
  REQUIRE(rota.next({"a"}) == "a");
  REQUIRE(rota.answered("a", named("web")));
  CHECK(rota.heard("a")->at == time.wall());
  CHECK_FALSE(rota.next({"b"}) == "a");
  CHECK_FALSE(rota.heard("a").has_value());
  CHECK_FALSE(rota.answered("a", named("late")));
  rota.forget("b");
  CHECK_FALSE(rota.heard("b").has_value());
}

}  // namespace reeve::agent
