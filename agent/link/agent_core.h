// agent/link/agent_core.h - the agent without its outside: session, executor, observer and samples
// on one loop, with everything else handed in. The daemon and the simulator run this same object.
#pragma once

#include <memory>
#include <string>

#include "agent/executor/executor.h"
#include "agent/executor/step.h"
#include "agent/host/host_probe.h"
#include "agent/link/channel.h"
#include "agent/link/observer.h"
#include "agent/link/outbox.h"
#include "agent/link/sampler.h"
#include "agent/link/session.h"

namespace reeve::agent {

/// Everything outlives the core.
struct AgentParts {
  Loop* loop = nullptr;
  Workers* workers = nullptr;  ///< may end after the core: late answers are dropped
  Random* random = nullptr;    ///< used on the loop only
  ServerChannel* channel = nullptr;
  Outbox* outbox = nullptr;
  HostProbe* probe = nullptr;
  ConsoleRelays* consoles = nullptr;  ///< may be null: OpenConsole is ignored
  StepWorld world{};                  ///< drivers, store, uploads, clock, policy
};

struct AgentSettings {
  SessionSettings session{};
  ObserverSettings observer{};
};

class AgentCore {
 public:
  /// Reads the outbox (blocks). Fails only when it cannot be read at all.
  static Result<std::unique_ptr<AgentCore>> create(AgentParts parts, AgentSettings settings);
  /// On the loop, or when its thread has ended. Destroying it is what a crash does: nothing is
  /// said, nothing is undone, and the next core over the same outbox, store and drivers carries on.
  ~AgentCore();
  AgentCore(const AgentCore&) = delete;
  AgentCore& operator=(const AgentCore&) = delete;

  /// Begins to observe and to connect. On the loop, or before its thread runs anything else of the
  /// core.
  void start();

  bool is_connected() const { return session_->is_connected(); }
  std::uint64_t epoch() const { return session_->epoch(); }
  std::size_t running_steps() const { return executor_->running(); }
  std::size_t unacknowledged_results() const { return executor_->unacknowledged().size(); }
  const Picture& picture() const { return observer_->picture(); }

 private:
  AgentCore(AgentParts parts, AgentSettings settings, std::uint64_t epoch);
  void connected(const v1::Welcome& welcome);
  void received(const v1::ConnectResponse& message);
  void send_result(const v1::StepResult& result);
  StepReports reports();

  ConsoleRelays* const consoles_;
  // The session is last: it is destroyed first and calls the others.
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<Session> session_;
};

}  // namespace reeve::agent
