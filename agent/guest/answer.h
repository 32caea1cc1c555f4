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

#include "agent/guest/facts.h"
#include "base/status.h"

namespace reeve::agent {

/// Taken of one answer; bounded() in facts.h cuts further.
inline constexpr std::size_t kMaxAnswer = 512u << 10;
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
