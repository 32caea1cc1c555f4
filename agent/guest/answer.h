// agent/guest/answer.h - what a guest says through its agent, checked: the guest may say anything.
// Source: QEMU's qga/qapi-schema.json.
//
// Every function takes one line as it came. Errors: DataLoss/GUEST_AGENT_ANSWER for what is not an
// answer of that kind, FailedPrecondition/GUEST_AGENT_REFUSED with the agent's own words when the
// answer is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace reeve::agent {

/// A network card as the guest has it. At most kMaxNics of them, kMaxAddresses each; texts are cut
/// to kMaxText bytes and hold no control characters.
struct GuestNicFacts {
  std::string name{};
  std::string mac{};  ///< lower case; empty when it has none
  std::vector<std::string>
      addresses{};  ///< as text, without prefix length; no loopback, link-local last
};

struct GuestFacts {
  std::string os_id{};           ///< "debian"; empty what the agent does not know
  std::string os_name{};         ///< "Debian GNU/Linux 12 (bookworm)"
  std::string kernel_release{};  ///< "6.1.0-18-amd64"
  std::string machine{};         ///< "x86_64"
  std::string host_name{};
};

inline constexpr std::size_t kMaxAnswer = 512u << 10;
inline constexpr std::size_t kMaxText = 256;
inline constexpr std::size_t kMaxNics = 64;
inline constexpr std::size_t kMaxAddresses = 32;

/// True when the line answers the request of that id, or carries no id at all (agents before 3.0).
/// False also for what is no JSON object: something older than our request.
bool answers(std::string_view line, std::int64_t id);

Status parse_done(std::string_view line);
Result<std::int64_t> parse_number(std::string_view line);
/// The agent's version, from guest-info.
Result<std::string> parse_version(std::string_view line);
Result<std::vector<GuestNicFacts>> parse_nics(std::string_view line);
Result<GuestFacts> parse_os(std::string_view line);
Result<std::string> parse_host_name(std::string_view line);

}  // namespace reeve::agent
