// db/model/host.h - a machine that runs an agent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "db/model/object.h"

namespace reeve::db {

struct Host : ObjectHead {
  std::string state{};
  std::string address{};          ///< as last seen or given by a person
  std::string cert_key_sha256{};  ///< hex; the agent's identity; empty before enrolment. Unique.
  std::string spec{};
  std::string status{};
  std::optional<WallTime> status_observed_at{};

  // The link's bookkeeping: written by HostRepo::update_link and update_features alone, without a
  // version.
  std::int64_t link_epoch = 0;
  std::int64_t link_last_seq = 0;  ///< last observation that is stored
  std::optional<WallTime> last_seen{};
  std::string link_features{};  ///< agreed on at the last Hello: sorted words
};

}  // namespace reeve::db
