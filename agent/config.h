// agent/config.h - what an administrator can set on a host: defaults here, read once from TOML.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace reeve::agent {

/// One libvirt connection.
struct LibvirtConfig {
  std::string id{};   ///< "qemu"; unique on the host
  std::string uri{};  ///< "qemu:///system"
};

struct AgentConfig {
  /// Connections to other hypervisors. Nothing configured and nothing on the command line:
  /// qemu:///system.
  std::vector<LibvirtConfig> libvirt{};
  bool libvirt_is_default = true;          ///< nobody said anything about libvirt
  std::vector<std::string> import_dirs{};  ///< images may be imported from below these
  std::vector<std::string> bridges{};      ///< machines may be attached to these; "*" for any
  /// The own core: "auto" runs machines where KVM does, "any" also where KVM runs only guests made
  /// for it, "off" does not offer it.
  std::string core{"auto"};
  bool simulate = false;                ///< offer a hypervisor "sim" that only pretends
  bool confine_guests = true;           ///< security labels where libvirt has a driver for them
  std::string disk_cache{"writeback"};  ///< of libvirt machines
  std::int64_t console_kib = 1024;      ///< output kept of each machine's console
  std::int64_t worker_threads = 8;
  std::string log_level{"info"};
};

/// Reads TOML text. InvalidArgument/BAD_CONFIG names the line, the key, and for an unknown key the
/// nearest one that exists.
Result<AgentConfig> parse_config(const std::string& text, const std::string& name);

/// Id of a connection from its URI: "qemu:///system" is "qemu", "test:///default" is "test".
std::string hypervisor_id_of(const std::string& uri);

/// The effective settings as TOML with the meaning of each as a comment.
std::string to_toml(const AgentConfig& config);

}  // namespace reeve::agent
