// server/config.h - what reeve-server can be told: defaults here, a TOML file and flags over them.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace reeve::server {

/// Read once, immutable afterwards. The member comments are the documentation of the file's keys.
struct Config {
  std::filesystem::path data = "/var/lib/reeve";
  std::string api = "127.0.0.1:7443";
  std::string link = "127.0.0.1:7444";
  std::string advertise{};
  std::vector<std::string> names{};
  std::string log_level = "info";
  bool keep_ports = false;
  std::int64_t heartbeat_ms = 5000;
  std::int64_t metrics_ms = 15000;
  std::int64_t host_timeout_ms = 20000;
  std::int64_t unreachable_grace_ms = 120000;
  std::string mac_prefix{};
};

/// Changes what the TOML text names. InvalidArgument/BAD_CONFIG names the line; an unknown key is
/// an error that suggests the nearest one.
Status read_config(std::string_view toml, Config& config);
/// The effective configuration as a commented TOML file that read_config() takes back.
std::string print_config(const Config& config);

struct Address {
  std::string host{};
  int port = 0;
};
/// "host:port" or "[v6]:port". InvalidArgument/BAD_ADDRESS.
Result<Address> parse_address(std::string_view text);
std::string to_text(const Address& address);

}  // namespace reeve::server
