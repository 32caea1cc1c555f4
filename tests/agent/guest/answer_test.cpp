// What a guest says through its agent is checked, cut and never believed.
#include "agent/guest/answer.h"

#include <catch2/catch.hpp>

namespace reeve::agent {
namespace {

const std::string kNics =
    R"({"return":[{"name":"lo","ip-addresses":[{"ip-address":"127.0.0.1","prefix":8}],)"
    R"("hardware-address":"00:00:00:00:00:00"},{"name":"eth0","ip-addresses":[)"
    R"({"ip-address-type":"ipv6","ip-address":"fe80::1","prefix":64},)"
    R"({"ip-address-type":"ipv4","ip-address":"10.0.0.5","prefix":24}],)"
    R"("hardware-address":"52:54:00:AB:CD:EF"}],"id":7})";

const std::string kOs =
    R"-({"return":{"name":"Debian GNU/Linux","kernel-release":"6.1.0-18-amd64",)-"
    R"-("pretty-name":"Debian GNU/Linux 12 (bookworm)","machine":"x86_64","id":"debian"}})-";

std::string reason_of(const Status& status) {
  return status.ok() ? "" : std::string(status.error().reason());
}

}  // namespace

TEST_CASE("addresses come without loopback, link-local ones last", "[guest-agent]") {
  const auto nics = parse_nics(kNics);
  REQUIRE(nics.ok());
  REQUIRE(nics.value().size() == 1);
  CHECK(nics.value()[0].name == "eth0");
  CHECK(nics.value()[0].mac == "52:54:00:ab:cd:ef");
  CHECK(nics.value()[0].addresses == std::vector<std::string>{"10.0.0.5", "fe80::1"});
}

TEST_CASE("facts about the system are taken, unknown ones stay empty", "[guest-agent]") {
  const auto facts = parse_os(kOs);
  REQUIRE(facts.ok());
  CHECK(facts.value().os_id == "debian");
  CHECK(facts.value().os_name == "Debian GNU/Linux 12 (bookworm)");
  CHECK(facts.value().kernel_release == "6.1.0-18-amd64");
  CHECK(parse_os(R"({"return":{"id":5}})").value().os_id.empty());
}

TEST_CASE("a refusal carries the agent's words", "[guest-agent]") {
  const auto status = parse_done(
      R"({"error":{"class":"CommandNotFound","desc":"The command x has not been found"}})");
  CHECK(reason_of(status) == "GUEST_AGENT_REFUSED");
  CHECK(status.error().message().find("has not been found (CommandNotFound)") != std::string::npos);
}

TEST_CASE("an answer cut off anywhere is no answer", "[guest-agent]") {
  for (const auto& whole : {kNics, kOs}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto cut = whole.substr(0, size);
      CHECK(reason_of(parse_done(cut)) == "GUEST_AGENT_ANSWER");
      CHECK_FALSE(parse_nics(cut).ok());
      CHECK_FALSE(parse_os(cut).ok());
      CHECK_FALSE(answers(cut, 7));
    }
  }
}

TEST_CASE("wrong kinds of answers are refused", "[guest-agent]") {
  for (const char* line : {"", "null", "[]", "5", "\"x\"", "{}", R"({"return":5)",
                           R"({"error":"text"})", "\xff\xfe{}", "{\"return\":\"\xff\"}"}) {
    CAPTURE(line);
    CHECK(reason_of(parse_done(line)) == "GUEST_AGENT_ANSWER");
  }
  CHECK_FALSE(parse_number(R"({"return":"5"})").ok());
  CHECK_FALSE(parse_number(R"({"return":5.5})").ok());
  CHECK_FALSE(parse_number(R"({"return":99999999999999999999})").ok());
  CHECK_FALSE(parse_version(R"({"return":[]})").ok());
  CHECK_FALSE(parse_host_name(R"({"return":"x"})").ok());
  CHECK_FALSE(parse_nics(R"({"return":{}})").ok());
  CHECK_FALSE(parse_nics(R"({"return":[5]})").ok());
  CHECK_FALSE(parse_os(R"({"return":[]})").ok());
  CHECK(parse_nics(R"({"return":[{"hardware-address":[],"ip-addresses":{}}]})").value().empty());
}

TEST_CASE("what a guest says is cut to what we keep", "[guest-agent]") {
  const auto host_name = [](const std::string& text) {
    return parse_host_name("{\"return\":{\"host-name\":\"" + text + "\"}}").value();
  };
  CHECK_FALSE(parse_done("{\"return\":\"" + std::string(kMaxAnswer, 'x') + "\"}").ok());
  CHECK(host_name(std::string(100'000, 'x')).size() == kMaxText);
  CHECK(host_name(R"(a\u001b[31m\u0007b\u0000)") == "a[31mb");
  std::string wide = "x";  // and characters of two bytes: cut between two of them
  for (int i = 0; i < 300; ++i) wide += "\xc3\xa9";
  CHECK(host_name(wide).size() == kMaxText - 1);

  std::string many = R"({"return":[)";
  for (int i = 0; i < 300; ++i) {
    many += i == 0 ? "{" : ",{";
    many += R"("hardware-address":"52:54:00:00:00:01","ip-addresses":[)";
    for (int k = 0; k < 40; ++k)
      many += std::string(k == 0 ? "" : ",") + R"({"ip-address":"10.0.0.1"})";
    many += "]}";
  }
  const auto nics = parse_nics(many + "]}");
  REQUIRE(nics.ok());
  CHECK(nics.value().size() == kMaxNics);
  CHECK(nics.value()[0].addresses.size() == kMaxAddresses);
}

TEST_CASE("an address is made of digits, dots and colons", "[guest-agent]") {
  const auto nics =
      parse_nics(R"({"return":[{"hardware-address":"52:54:00:00:00:01","ip-addresses":[)"
                 R"({"ip-address":"<script>"},{"ip-address":"10.0.0.1; rm"},{"ip-address":""},)"
                 R"({"ip-address":"10.1.1.1"}]}]})");
  REQUIRE(nics.ok());
  CHECK(nics.value()[0].addresses == std::vector<std::string>{"10.1.1.1"});
}

TEST_CASE("deep nesting does not exhaust the stack", "[guest-agent]") {
  CHECK_FALSE(parse_done(std::string(500'000, '[')).ok());
  CHECK_FALSE(parse_done(std::string(250'000, '[') + std::string(250'000, ']')).ok());
  std::string nested = "{\"return\":";
  for (int i = 0; i < 50'000; ++i) nested += "{\"a\":";
  nested += "1" + std::string(50'001, '}');
  CHECK(parse_done(nested).ok());
}

TEST_CASE("only the answer with our id is ours", "[guest-agent]") {
  CHECK(answers(R"({"return":{},"id":7})", 7));
  CHECK_FALSE(answers(R"({"return":{},"id":6})", 7));
  CHECK_FALSE(answers(R"({"return":{},"id":"7"})", 7));
  CHECK(answers(R"({"return":{}})", 7));
  CHECK_FALSE(answers("garbage", 7));
}

}  // namespace reeve::agent
