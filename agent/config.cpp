#include "agent/config.h"

#include <algorithm>
#include <array>
#include <set>

#include <toml++/toml.h>

#include "base/text.h"

namespace reeve::agent {
namespace {

constexpr std::array<std::string_view, 11> kKeys{
    "core",       "libvirt",     "import_dirs",    "bridges",   "simulate",  "confine_guests",
    "disk_cache", "console_kib", "worker_threads", "log_level", "hypervisor"};

Error bad(const std::string& name, const std::string& what) {
  return {Code::InvalidArgument, "BAD_CONFIG", "'" + name + "': " + what};
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view nearest(std::string_view key) {
  return *std::min_element(kKeys.begin(), kKeys.end(), [&](std::string_view a, std::string_view b) {
    return distance(key, a) < distance(key, b);
  });
}

Result<std::vector<std::string>> strings(const toml::node& node, const std::string& name,
                                         const std::string& key) {
  std::vector<std::string> out;
  const auto* array = node.as_array();
  if (!array) return bad(name, "'" + key + "' is a list of texts");
  for (const auto& element : *array) {
    const auto text = element.value_exact<std::string>();
    if (!text) return bad(name, "'" + key + "' is a list of texts");
    out.push_back(*text);
  }
  return out;
}

template <class T>
Status take(const toml::table& table, const char* key, const char* kind, const std::string& name,
            T& into) {
  const auto* node = table.get(key);
  if (!node) return {};
  const auto value = node->value_exact<T>();
  if (!value) return bad(name, "'" + std::string(key) + "' is a " + kind);
  into = *value;
  return {};
}

Status range(const std::string& name, const char* key, std::int64_t value, std::int64_t low,
             std::int64_t high) {
  if (value >= low && value <= high) return {};
  return bad(name, "'" + std::string(key) + "' is between " + std::to_string(low) + " and " +
                       std::to_string(high));
}

bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 32 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

Status take_hypervisors(const toml::table& table, const std::string& name, AgentConfig& config) {
  const auto* node = table.get("hypervisor");
  if (!node) return {};
  const auto* list = node->as_array();
  if (!list) return bad(name, "hypervisors are written as [[hypervisor]] with 'id' and 'uri'");
  config.libvirt_is_default = false;
  for (const auto& element : *list) {
    const auto* entry = element.as_table();
    LibvirtConfig one;
    if (!entry) return bad(name, "hypervisors are written as [[hypervisor]] with 'id' and 'uri'");
    for (const auto& [key, value] : *entry)
      if (key.str() != "id" && key.str() != "uri")
        return bad(name, "a hypervisor has 'id' and 'uri', not '" + std::string(key.str()) + "'");
    TRY(take(*entry, "uri", "text", name, one.uri));
    TRY(take(*entry, "id", "text", name, one.id));
    if (one.uri.empty()) return bad(name, "a hypervisor without 'uri'");
    if (one.id.empty()) one.id = hypervisor_id_of(one.uri);
    config.libvirt.push_back(std::move(one));
  }
  return {};
}

Status check(const AgentConfig& config, const std::string& name) {
  std::set<std::string> ids;
  for (const auto& one : config.libvirt) {
    if (!is_id(one.id)) return bad(name, "the id '" + one.id + "' is not [a-z0-9-]{1,32}");
    if (one.id == "sim" || one.id == "core" || !ids.insert(one.id).second)
      return bad(name, "the hypervisor id '" + one.id + "' is taken");
  }
  for (const auto& dir : config.import_dirs)
    if (!dir.starts_with('/')) return bad(name, "'import_dirs' has a path that is not absolute");
  static const std::set<std::string> levels{"debug", "info", "warning", "error"};
  if (!levels.contains(config.log_level))
    return bad(name, "'log_level' is debug, info, warning or error");
  if (config.core != "auto" && config.core != "any" && config.core != "off")
    return bad(name, "'core' is auto, any or off");
  static const std::set<std::string> caches{"writeback", "none", "writethrough", "directsync",
                                            "unsafe"};
  if (!caches.contains(config.disk_cache))
    return bad(name, "'disk_cache' is none of libvirt's cache modes");
  TRY(range(name, "console_kib", config.console_kib, 4, 1 << 20));
  return range(name, "worker_threads", config.worker_threads, 1, 256);
}

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out + "\"";
}

std::string list(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const auto& text : texts) parts.push_back(toml_string(text));
  return "[" + join(parts, ", ") + "]";
}

}  // namespace

std::string hypervisor_id_of(const std::string& uri) {
  std::string id;
  for (const char c : uri) {
    if (c == ':' || c == '+') break;
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) id.push_back(c);
  }
  return id.empty() ? "libvirt" : id;
}

Result<AgentConfig> parse_config(const std::string& text, const std::string& name) {
  toml::table table;
  try {
    table = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return bad(name, "line " + std::to_string(error.source().begin.line) + ": " +
                         std::string(error.description()));
  }
  for (const auto& [key, value] : table)
    if (std::find(kKeys.begin(), kKeys.end(), key.str()) == kKeys.end())
      return bad(name, "there is no key '" + std::string(key.str()) + "'; did you mean '" +
                           std::string(nearest(key.str())) + "'?");
  AgentConfig config;
  if (const auto* node = table.get("libvirt")) {
    config.libvirt_is_default = false;
    const auto uris = TRY(strings(*node, name, "libvirt"));
    for (const auto& uri : uris) config.libvirt.push_back({hypervisor_id_of(uri), uri});
  }
  TRY(take_hypervisors(table, name, config));
  if (const auto* node = table.get("import_dirs"))
    config.import_dirs = TRY(strings(*node, name, "import_dirs"));
  if (const auto* node = table.get("bridges"))
    config.bridges = TRY(strings(*node, name, "bridges"));
  TRY(take(table, "core", "text", name, config.core));
  TRY(take(table, "simulate", "yes or no (true, false)", name, config.simulate));
  TRY(take(table, "confine_guests", "yes or no (true, false)", name, config.confine_guests));
  TRY(take(table, "disk_cache", "text", name, config.disk_cache));
  TRY(take(table, "console_kib", "whole number", name, config.console_kib));
  TRY(take(table, "worker_threads", "whole number", name, config.worker_threads));
  TRY(take(table, "log_level", "text", name, config.log_level));
  TRY(check(config, name));
  return config;
}

std::string to_toml(const AgentConfig& config) {
  std::string out;
  const auto put = [&](std::string_view comment, std::string_view key, const std::string& value) {
    out += "# " + std::string(comment) + "\n" + std::string(key) + " = " + value + "\n";
  };
  put("Folders below which images may be imported from this host.", "import_dirs",
      list(config.import_dirs));
  put("Bridges machines may be attached to; \"*\" for any.", "bridges", list(config.bridges));
  put("The own core: auto, any (also where KVM runs only guests made for it) or off.", "core",
      toml_string(config.core));
  put("Offer a hypervisor \"sim\" that only pretends.", "simulate",
      config.simulate ? "true" : "false");
  put("Security labels for machines where libvirt has a driver for them.", "confine_guests",
      config.confine_guests ? "true" : "false");
  put("Cache mode of libvirt machines' disks.", "disk_cache", toml_string(config.disk_cache));
  put("Console output kept of each machine, in KiB.", "console_kib",
      std::to_string(config.console_kib));
  put("Threads for calls that block.", "worker_threads", std::to_string(config.worker_threads));
  put("debug, info, warning or error.", "log_level", toml_string(config.log_level));
  out += "# Connections to hypervisors.\n";
  if (config.libvirt.empty()) out += "libvirt = []\n";
  for (const auto& one : config.libvirt)
    out += "[[hypervisor]]\nid = " + toml_string(one.id) + "\nuri = " + toml_string(one.uri) + "\n";
  return out;
}

}  // namespace reeve::agent
