// proto/features.h - what server and agent can agree on beyond the first release.
//
// The agent offers its list in Hello; the server answers in Welcome with those that it uses too. A
// job that needs one which was not agreed on is refused (AGENT_TOO_OLD) before anything of it runs:
// an older agent would leave out what it does not understand. A feature is never renamed; it leaves
// this list when every agent that a server speaks with has it.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "reeve/agent/v1/step.pb.h"

namespace reeve {

inline constexpr std::string_view kFeatureLimits = "limits";           ///< GuestSpec.limits
inline constexpr std::string_view kFeatureSavedState = "saved-state";  ///< SaveGuest, RestoreGuest

/// Of this version's agent; sorted.
inline constexpr std::array kAgentFeatures{kFeatureLimits, kFeatureSavedState};
/// Of this version's server; sorted.
inline constexpr std::array kServerFeatures{kFeatureLimits, kFeatureSavedState};

/// Those of `offered` that the server uses; sorted.
inline std::vector<std::string> agreed_features(const auto& offered) {
  std::vector<std::string> agreed;
  for (const auto feature : kServerFeatures)
    if (std::ranges::find(offered, feature) != offered.end()) agreed.emplace_back(feature);
  return agreed;
}

/// What an agent must have to execute an action; empty when every one can.
inline std::string_view needed_feature(const agent::v1::Action& action) {
  using Action = agent::v1::Action;
  const auto of_spec = [](const agent::v1::GuestSpec& spec) {
    return spec.has_limits() ? kFeatureLimits : std::string_view();
  };
  switch (action.kind_case()) {
    case Action::kSaveGuest:
    case Action::kRestoreGuest: return kFeatureSavedState;
    case Action::kPrepareGuest: return of_spec(action.prepare_guest().spec());
    case Action::kDefineGuest: return of_spec(action.define_guest().spec());
    case Action::kUpdateGuest: return of_spec(action.update_guest().spec());
    default: return {};
  }
}

}  // namespace reeve
