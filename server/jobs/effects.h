// server/jobs/effects.h - what a step's success means for the inventory, applied in the transaction
// that journals it. Plans name effects by word, so that a journal can be read by the next version.
//
// Every effect may find its object gone (the record was removed on purpose): then it does nothing.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "db/model/object.h"
#include "db/sqlite/transaction.h"
#include "reeve/journal/v1/job_record.pb.h"

namespace reeve::server {

using FactMap = std::map<std::string, std::string>;

struct EffectContext {
  db::Transaction& tx;
  const journal::v1::PlanRecord& plan;
  const FactMap& facts;  ///< of the step
  const db::Change& change;
};

/// Applies the effect called `name`; nothing when it is empty. Internal/UNKNOWN_EFFECT.
Status apply_effect(std::string_view name, const EffectContext& context);

/// Every effect there is, for the test that applies each twice.
std::vector<std::string_view> effect_names();

}  // namespace reeve::server
