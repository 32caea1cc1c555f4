// agent/driver/heard.h - what guests said of themselves, beside what their hypervisor shows of
// them.
#pragma once

#include <utility>
#include <vector>

#include "agent/driver/driver.h"
#include "agent/guest/rota.h"

namespace reeve::agent {

/// A guest that is off says nothing.
inline GuestSeen with_facts(GuestSeen seen, const Rota& rota) {
  if (is_off(seen)) return seen;
  if (auto heard = rota.heard(seen.uid)) {
    seen.addresses = addresses_of(heard->facts);
    seen.guest = std::move(heard->facts);
  }
  return seen;
}

inline void add_answers(std::vector<GuestUse>& uses, const Rota& rota) {
  for (auto& use : uses)
    if (const auto heard = rota.heard(use.uid)) use.guest_answer = heard->at;
}

}  // namespace reeve::agent
