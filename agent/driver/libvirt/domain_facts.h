// agent/driver/libvirt/domain_facts.h - what we need to know from a domain's XML.
//
// The XML comes from a daemon that drives guests of anyone: it is read with limits, and every text
// that leaves here is short, printable UTF-8.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pugixml.hpp>

#include "base/clock.h"
#include "base/status.h"

namespace reeve::agent::libvirt {

inline constexpr const char* kSeedId = "reeve-seed";
inline constexpr const char* kAgentChannel = "org.qemu.guest_agent.0";

struct DomainFacts {
  std::string name{};
  std::string title{};
  std::string domain_type{};
  bool managed = false;
  std::string digest{};
  std::optional<WallTime> start_time{};  ///< as written into the live mark
  std::int32_t cpus = 0;
  std::int64_t memory_mib = 0;
  std::string serial_path{};  ///< UNIX socket or character device of the first serial port
  std::string serial_log{};
  bool has_agent_channel = false;
  bool agent_connected = false;
  bool has_nvram = false;
  bool has_tpm = false;

  /// What a person calls the guest: the title of ours, else the name.
  const std::string& display_name() const { return managed && !title.empty() ? title : name; }
};

/// Our element in a domain's metadata, if any.
pugi::xml_node find_mark(pugi::xml_node domain);
/// The (kind, id) pairs our mark claims.
std::vector<std::pair<std::string, std::string>> owned_parts(pugi::xml_node domain);

/// Internal/HYPERVISOR_ERROR for what is not a domain, or is larger than 4 MiB or nested deeper
/// than 64.
Result<pugi::xml_document> parse_domain(std::string_view xml);
Result<DomainFacts> read_domain_facts(std::string_view xml);

/// `text` as at most 255 bytes of valid UTF-8 in one line.
std::string printable(std::string_view text);
/// A title libvirt takes: one line.
std::string title_for(std::string_view display_name);

}  // namespace reeve::agent::libvirt
