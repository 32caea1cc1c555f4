#include "server/config.h"

#include <catch2/catch.hpp>

namespace reeve::server {
namespace {

TEST_CASE("what is printed reads back as the same configuration", "[config]") {
  Config config;
  config.data = "/tmp/a \"b\"";
  config.names = {"one", "two"};
  config.keep_ports = true;
  config.heartbeat_ms = 250;
  Config again;
  REQUIRE(read_config(print_config(config), again).ok());
  CHECK(print_config(again) == print_config(config));
  CHECK(again.data == config.data);
}

TEST_CASE("an unknown key is refused with its line and the nearest key", "[config]") {
  Config config;
  const auto read = read_config("data = \"/x\"\nlog_levle = \"debug\"\n", config);
  REQUIRE_FALSE(read.ok());
  CHECK(read.error().message().find("line 2") != std::string::npos);
  CHECK(read.error().remedy() == "Did you mean 'log_level'?");
}

TEST_CASE("configuration values of the wrong kind, shape or range are refused", "[config]") {
  for (const auto* text :
       {"api = 7", "api = \"no-port\"", "api = \"a:99999\"", "api = \":1\"", "log_level = \"loud\"",
        "names = \"one\"", "names = [1]", "keep_ports = 1", "heartbeat_ms = 0",
        "heartbeat_ms = \"5\"", "heartbeat_ms = 1e3", "data = \"\"", "data = ", "= 1", "[server"}) {
    CAPTURE(text);
    Config config;
    CHECK_FALSE(read_config(text, config).ok());
  }
}

TEST_CASE("addresses are host and port, IPv6 in brackets", "[config]") {
  CHECK(parse_address("127.0.0.1:0").value().port == 0);
  CHECK(parse_address("[::1]:7443").value().host == "::1");
  CHECK(to_text(parse_address("[::1]:7443").value()) == "[::1]:7443");
  for (const auto* bad : {"", "a", "a:", ":1", "::1:5", "a:-1", "a:1x", "[]:1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_address(bad).ok());
  }
}

}  // namespace
}  // namespace reeve::server
