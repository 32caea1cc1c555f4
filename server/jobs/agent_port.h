// server/jobs/agent_port.h - what the job runner needs of the connected agents. Core loop only.
#pragma once

#include <cstdint>
#include <string>

#include "reeve/agent/v1/link_service.pb.h"

namespace reeve::server {

class AgentPort {
 public:
  virtual ~AgentPort() = default;
  virtual bool is_connected(const std::string& host_uid) const = 0;
  /// Queues a message. False when the host is not connected.
  virtual bool send_now(const std::string& host_uid, const agent::v1::ConnectResponse& message) = 0;
  /// Goes into every RunStep.
  virtual std::uint64_t epoch() const = 0;
  /// A job no longer holds this machine (empty for an image): observations that were held back
  /// because of it are taken afresh; with `look_again` always.
  virtual void released(const std::string& host_uid, const std::string& vm_uid,
                        bool look_again) = 0;
};

/// What agents report to the runner. Core loop only.
class AgentReports {
 public:
  virtual ~AgentReports() = default;
  virtual void agent_connected(const std::string& host_uid) = 0;
  virtual void agent_lost(const std::string& host_uid) = 0;
  virtual void step_result(const std::string& host_uid, const agent::v1::StepResult& result) = 0;
  virtual void step_progress(const std::string& host_uid,
                             const agent::v1::StepProgress& progress) = 0;
  virtual void step_seen(const std::string& host_uid, const agent::v1::StepSeen& seen) = 0;
};

}  // namespace reeve::server
