#include "agent/link/agent_core.h"

namespace reeve::agent {
namespace {

/// Beyond this many unwritten messages progress and samples are dropped: they are worth nothing
/// late.
constexpr std::size_t kCongested = 256;

}  // namespace

Result<std::unique_ptr<AgentCore>> AgentCore::create(AgentParts parts, AgentSettings settings) {
  auto results = TRY(parts.outbox->load());
  const std::uint64_t epoch = TRY(parts.outbox->epoch());
  for (const auto& [id, driver] : parts.world.drivers) parts.world.policy.hypervisors.insert(id);
  std::unique_ptr<AgentCore> core(new AgentCore(std::move(parts), std::move(settings), epoch));
  core->executor_->restore(std::move(results));
  return core;
}

AgentCore::AgentCore(AgentParts parts, AgentSettings settings, std::uint64_t epoch)
    : consoles_(parts.consoles) {
  Loop& loop = *parts.loop;
  executor_ =
      std::make_unique<Executor>(loop, *parts.workers, parts.world, *parts.outbox, reports());
  observer_ =
      std::make_unique<Observer>(loop, *parts.workers, parts.world, *parts.probe,
                                 std::move(settings.observer), [this](v1::Observation delta) {
                                   v1::ConnectRequest message;
                                   *message.mutable_observation() = std::move(delta);
                                   return session_->send(std::move(message));
                                 });
  sampler_ = std::make_unique<Sampler>(loop, *parts.workers, parts.world, *parts.probe,
                                       [this](v1::Metrics metrics) {
                                         if (session_->backlog() > kCongested) return;
                                         v1::ConnectRequest message;
                                         *message.mutable_metrics() = std::move(metrics);
                                         session_->send(std::move(message));
                                       });
  SessionHandlers handlers;
  handlers.connected = [this](const v1::Welcome& welcome) { connected(welcome); };
  handlers.received = [this](const v1::ConnectResponse& message) { received(message); };
  handlers.disconnected = [this] { sampler_->set_interval(std::chrono::milliseconds(0)); };
  session_ =
      std::make_unique<Session>(loop, *parts.workers, *parts.random, *parts.channel, *parts.outbox,
                                epoch, std::move(settings.session), std::move(handlers));
}

AgentCore::~AgentCore() = default;

StepReports AgentCore::reports() {
  StepReports reports;
  reports.finished = [this](const v1::StepResult& result) {
    observer_->flush();
    send_result(result);
  };
  reports.progress = [this](const v1::StepProgress& progress) {
    if (session_->backlog() > kCongested) return;
    v1::ConnectRequest message;
    *message.mutable_step_progress() = progress;
    session_->send(std::move(message));
  };
  reports.looked_at = [this](const GuestRef& guest, const Result<GuestSeen>& seen) {
    observer_->looked_at(guest, seen);
  };
  reports.images_changed = [this] { observer_->images_changed(); };
  return reports;
}

void AgentCore::start() {
  observer_->start();
  session_->start();
}

void AgentCore::send_result(const v1::StepResult& result) {
  v1::ConnectRequest message;
  *message.mutable_step_result() = result;
  session_->send(std::move(message));
}

void AgentCore::connected(const v1::Welcome& welcome) {
  observer_->send_full(true);
  for (const auto& result : executor_->unacknowledged()) send_result(result);
  sampler_->set_interval(std::chrono::milliseconds(welcome.metrics_ms()));
}

void AgentCore::received(const v1::ConnectResponse& message) {
  switch (message.kind_case()) {
    case v1::ConnectResponse::kRunStep: return executor_->run(message.run_step());
    case v1::ConnectResponse::kObserveStep:
      return executor_->observe(message.observe_step(), [this](v1::StepSeen seen) {
        v1::ConnectRequest reply;
        *reply.mutable_step_seen() = std::move(seen);
        session_->send(std::move(reply));
      });
    case v1::ConnectResponse::kCancelStep: return executor_->cancel(message.cancel_step().key());
    case v1::ConnectResponse::kAcknowledgeResults: {
      const auto& keys = message.acknowledge_results().keys();
      return executor_->acknowledge({keys.begin(), keys.end()});
    }
    case v1::ConnectResponse::kResync: return observer_->send_full(false);
    case v1::ConnectResponse::kOpenConsole:
      if (consoles_) consoles_->open(message.open_console());
      return;
    case v1::ConnectResponse::kWelcome:
    case v1::ConnectResponse::kRefusal:
    case v1::ConnectResponse::kHeartbeat:
    case v1::ConnectResponse::KIND_NOT_SET: return;
  }
}

}  // namespace reeve::agent
