// agent/composition.h - puts the agent together: the only place that names concrete classes.
#pragma once

#include <memory>
#include <string>

#include "agent/config.h"
#include "base/status.h"

namespace reeve::agent {

/// A running agent. Destroying it stops the agent and touches no machine.
class Agent {
 public:
  /// FailedPrecondition/NOT_ENROLLED, FailedPrecondition/DATA_FOLDER_BUSY (another agent has it).
  static Result<std::unique_ptr<Agent>> start(const std::string& data, const AgentConfig& config);
  virtual ~Agent() = default;
};

}  // namespace reeve::agent
