#include "agent/config.h"

#include <catch2/catch.hpp>

using namespace reeve;
using namespace reeve::agent;

namespace {

std::string message_of(const std::string& text) {
  const auto config = parse_config(text, "agent.toml");
  return config.ok() ? "" : config.error().message();
}

}  // namespace

TEST_CASE("a full configuration is read, and printed as one that reads the same", "[agent]") {
  const auto config = parse_config(
      "import_dirs = ['/srv/images']\nbridges = ['br0']\nsimulate = true\nconsole_kib = 64\n"
      "[[hypervisor]]\nid = 'esx'\nuri = 'esx://root@host/'\n[[hypervisor]]\nuri = "
      "'qemu:///system'\n",
      "agent.toml");
  REQUIRE(config.ok());
  REQUIRE(config.value().libvirt.size() == 2);
  CHECK(config.value().libvirt[1].id == "qemu");
  CHECK(config.value().simulate);
  const auto printed = to_toml(config.value());
  const auto again = parse_config(printed.substr(0), "printed");
  REQUIRE(again.ok());
  CHECK(to_toml(again.value()) == printed);
}

TEST_CASE("nothing configured means the local libvirt", "[agent]") {
  CHECK(parse_config("", "x").value().libvirt_is_default);
  CHECK_FALSE(parse_config("libvirt = []", "x").value().libvirt_is_default);
}

TEST_CASE("mistakes are named with their place and the nearest key", "[agent]") {
  CHECK(message_of("imprt_dirs = []").find("did you mean 'import_dirs'") != std::string::npos);
  CHECK(message_of("simulate = ").find("line 1") != std::string::npos);
  CHECK(message_of("simulate = 'yes'").find("'simulate'") != std::string::npos);
  CHECK(message_of("console_kib = 0").find("between") != std::string::npos);
  CHECK_FALSE(message_of("bridges = 'br0'").empty());
  CHECK_FALSE(message_of("import_dirs = ['relative']").empty());
  CHECK_FALSE(message_of("libvirt = ['qemu:///system', 'qemu:///session']").empty());
  CHECK_FALSE(message_of("[[hypervisor]]\nid = 'sim'\nuri = 'x:///'").empty());
  CHECK_FALSE(message_of("[[hypervisor]]\nurl = 'x:///'").empty());
  CHECK_FALSE(message_of("log_level = 'loud'").empty());
}

TEST_CASE("a connection's id comes from its address", "[agent]") {
  CHECK(hypervisor_id_of("qemu:///system") == "qemu");
  CHECK(hypervisor_id_of("qemu+unix:///system?socket=/x") == "qemu");
  CHECK(hypervisor_id_of("test:///default") == "test");
  CHECK(hypervisor_id_of("") == "libvirt");
}
