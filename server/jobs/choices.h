// server/jobs/choices.h - the ways out of PARKED, honestly described.
#pragma once

#include <string_view>
#include <vector>

#include "reeve/v1/job.pb.h"

namespace reeve::server {

struct LoadedJob;

inline constexpr std::string_view kRetry = "retry";
inline constexpr std::string_view kRollBack = "roll_back";
inline constexpr std::string_view kAbandon = "abandon";

/// Never empty for a parked job.
std::vector<v1::JobChoice> choices_of(const LoadedJob& job);

}  // namespace reeve::server
