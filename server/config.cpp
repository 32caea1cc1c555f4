#include "server/config.h"

#include <charconv>
#include <functional>
#include <map>

#include <toml++/toml.h>

#include "base/text.h"
#include "server/app/mac_pool.h"

namespace reeve::server {
namespace {

Error bad(const std::string& problem) {
  return {Code::InvalidArgument, "BAD_CONFIG", "configuration: " + problem};
}

/// One key of the file: how it is read, how it is printed, and what it means.
struct Key {
  const char* name;
  const char* comment;
  std::function<Status(const toml::node&, Config&)> read;
  std::function<std::string(const Config&)> print;
};

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out + '"';
}

template <class T>
Status read_text(const toml::node& node, T& out) {
  const auto text = node.value_exact<std::string>();
  if (!text) return bad("is not a text");
  out = *text;
  return {};
}

Key text_key(const char* name, const char* comment, std::string Config::*member) {
  return {
      name, comment,
      [member](const toml::node& node, Config& config) { return read_text(node, config.*member); },
      [member](const Config& config) { return toml_text(config.*member); }};
}

Key millis_key(const char* name, const char* comment, std::int64_t Config::*member) {
  return {name, comment,
          [member](const toml::node& node, Config& config) -> Status {
            const auto value = node.value_exact<std::int64_t>();
            if (!value || *value < 1 || *value > 86'400'000)
              return bad("is not a number of milliseconds from 1 to 86400000");
            config.*member = *value;
            return {};
          },
          [member](const Config& config) { return std::to_string(config.*member); }};
}

Status read_names(const toml::node& node, Config& config) {
  const auto* list = node.as_array();
  if (list == nullptr) return bad("is not a list of texts");
  config.names.clear();
  for (const auto& item : *list) {
    std::string name;
    TRY(read_text(item, name));
    config.names.push_back(std::move(name));
  }
  return {};
}

std::string print_names(const Config& config) {
  std::vector<std::string> parts;
  for (const auto& name : config.names) parts.push_back(toml_text(name));
  return "[" + join(parts, ", ") + "]";
}

Status read_flag(const toml::node& node, Config& config) {
  const auto value = node.value_exact<bool>();
  if (!value) return bad("is not true or false");
  config.keep_ports = *value;
  return {};
}

const std::vector<Key>& keys() {
  static const std::vector<Key> all{
      {"data", "Folder of the database, the CA and the first token; only its owner may enter it.",
       [](const toml::node& node, Config& config) { return read_text(node, config.data); },
       [](const Config& config) { return toml_text(config.data.string()); }},
      text_key("api",
               "Where clients and enrolling agents call: host:port; port 0 takes a free one.",
               &Config::api),
      text_key("link", "Where enrolled agents call (mutual TLS).", &Config::link),
      text_key("advertise", "Host name or address that hosts are told; found out when empty.",
               &Config::advertise),
      {"names", "More names and addresses for the server's certificate.", read_names, print_names},
      text_key("log_level", "debug, info, warning or error.", &Config::log_level),
      {"keep_ports", "With port 0: take the ports of the last run again.", read_flag,
       [](const Config& config) { return std::string(config.keep_ports ? "true" : "false"); }},
      millis_key("heartbeat_ms", "How often server and agents must hear each other.",
                 &Config::heartbeat_ms),
      millis_key("metrics_ms", "How often agents send samples.", &Config::metrics_ms),
      millis_key("host_timeout_ms", "A host not heard of for this long counts as disconnected.",
                 &Config::host_timeout_ms),
      millis_key("unreachable_grace_ms", "A job that waits for a host for this long is parked.",
                 &Config::unreachable_grace_ms),
      text_key(
          "mac_prefix",
          "First three bytes of the addresses that network cards are given, e.g. 52:54:00; one "
          "of this server's own when empty.",
          &Config::mac_prefix),
  };
  return all;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

Error unknown_key(std::string_view name, std::size_t line) {
  std::string_view nearest = keys().front().name;
  for (const auto& key : keys())
    if (distance(name, key.name) < distance(name, nearest)) nearest = key.name;
  return bad("line " + std::to_string(line) + ": unknown key '" + std::string(name) + "'")
      .remedy("Did you mean '" + std::string(nearest) + "'?");
}

Status check(const Config& config) {
  TRY(parse_address(config.api));
  TRY(parse_address(config.link));
  if (config.data.empty()) return bad("data is empty");
  if (!config.mac_prefix.empty()) TRY(MacPool::create(config.mac_prefix));
  for (const auto* level : {"debug", "info", "warning", "error"})
    if (config.log_level == level) return {};
  return bad("log_level is not debug, info, warning or error");
}

}  // namespace

Status read_config(std::string_view toml, Config& config) {
  toml::table table;
  try {
    table = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    return bad("line " + std::to_string(error.source().begin.line) + ": " +
               std::string(error.description()));
  }
  for (const auto& [name, node] : table) {
    const auto line = static_cast<std::size_t>(node.source().begin.line);
    const auto key = std::find_if(keys().begin(), keys().end(),
                                  [text = name.str()](const Key& one) { return text == one.name; });
    if (key == keys().end()) return unknown_key(name.str(), line);
    if (auto read = key->read(node, config); !read.ok())
      return std::move(read).error().during("line " + std::to_string(line) + ": " + key->name);
  }
  return check(config);
}

std::string print_config(const Config& config) {
  std::string out = "# Configuration of reeve-server.\n";
  for (const auto& key : keys())
    out.append("\n# ")
        .append(key.comment)
        .append("\n")
        .append(key.name)
        .append(" = ")
        .append(key.print(config) + "\n");
  return out;
}

Result<Address> parse_address(std::string_view text) {
  const Error wrong{Code::InvalidArgument, "BAD_ADDRESS",
                    "'" + std::string(text) + "' is not host:port"};
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong;
  Address out{.host = std::string(text.substr(0, colon)), .port = -1};
  if (out.host.front() == '[' && out.host.back() == ']')
    out.host = out.host.substr(1, out.host.size() - 2);
  else if (out.host.find(':') != std::string::npos)
    return wrong;
  const auto port = text.substr(colon + 1);
  const auto* end = port.data() + port.size();
  if (std::from_chars(port.data(), end, out.port).ptr != end || port.empty() || out.port < 0 ||
      out.port > 65535 || out.host.empty())
    return wrong;
  return out;
}

std::string to_text(const Address& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

}  // namespace reeve::server
