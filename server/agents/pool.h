// server/agents/pool.h - the AgentPool: who is connected, in which conversation, and what they see.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/loop.h"
#include "base/random.h"
#include "db/repo/audit_repo.h"
#include "db/writer.h"
#include "proto/picture.h"
#include "server/agents/agent_pool.h"
#include "server/agents/live_facts.h"
#include "server/agents/sightings.h"
#include "server/jobs/agent_port.h"

namespace reeve::server {

struct PoolSettings {
  std::string version{};
  std::chrono::milliseconds heartbeat{5000};
  std::chrono::milliseconds metrics{15000};
  std::chrono::milliseconds host_timeout{20000};
};

/// All of it outlives the pool.
struct PoolParts {
  Loop& loop;
  db::Writer& writer;
  Random& random;  ///< used on the writer's thread
  LiveFacts& live;
  db::HashFunction sha256{};
  std::uint64_t epoch = 0;
  PoolSettings settings{};
};

class Pool final : public AgentPool, public AgentPort {
 public:
  explicit Pool(PoolParts parts);
  ~Pool() override;

  /// Who hears of steps and connections; set before the first open().
  void report_to(AgentReports& reports) { reports_ = &reports; }
  /// Begins heartbeats. Core loop.
  void start();

  SessionId open(std::string host_uid, std::shared_ptr<AgentChannel> channel) override;
  void receive(SessionId session, agent::v1::ConnectRequest message) override;
  void closed(SessionId session) override;
  void send(const std::string& host_uid, agent::v1::ConnectResponse message,
            std::function<void(Status)> sent) override;
  void disconnect(const std::string& host_uid, const std::string& reason,
                  const std::string& message) override;

  bool is_connected(const std::string& host_uid) const override {
    return current_.contains(host_uid);
  }
  bool send_now(const std::string& host_uid, const agent::v1::ConnectResponse& message) override;
  std::uint64_t epoch() const override { return parts_.epoch; }
  void released(const std::string& host_uid, const std::string& vm_uid, bool look_again) override;

 private:
  /// Greeting: waits for Hello. Entering: Hello is being recorded. Connected: after Welcome.
  enum class Phase { Greeting, Entering, Connected };
  struct Session {
    std::string host_uid{};
    std::shared_ptr<AgentChannel> channel{};
    Phase phase = Phase::Greeting;
    agent::v1::Hello hello{};
    std::uint64_t entered_at = 0;  ///< value of writes_ when its Hello was recorded
    Monotonic heard{};
    Monotonic spoke{};
    Picture picture{};
    std::uint64_t sequence = 0;  ///< last observation applied
    bool complete = false;       ///< a full one has come, and no hole since
    std::optional<Monotonic> asked_resync{};
    bool resync_waits = false;
    std::set<std::string> held_back{};  ///< machines with news that a job kept out
  };

  void post(Task task);
  Session* find(SessionId id);
  Session* connected(const std::string& host_uid);
  void handle(SessionId id, const agent::v1::ConnectRequest& message);
  void greet(SessionId id, const agent::v1::Hello& hello);
  void enter(SessionId id);
  void entered(SessionId id, const Status& outcome);
  void refuse(SessionId id, const std::string& reason, const std::string& message);
  void observed(SessionId id, const agent::v1::Observation& seen);
  /// Applies it to the inventory; asks for a Resync when that fails.
  void store(SessionId id, const agent::v1::Observation& seen);
  void applied(const std::string& host_uid, const SightingOutcome& outcome);
  void ask_resync(SessionId id);
  void end(SessionId id);
  void leave(const Session& session);
  void say(Session& session, const agent::v1::ConnectResponse& message);
  void tick();
  Monotonic now() const { return parts_.loop.clock().monotonic(); }
  WallTime wall() const { return parts_.loop.clock().wall(); }

  PoolParts parts_;
  AgentReports* reports_ = nullptr;
  std::atomic<SessionId> next_id_{1};
  std::map<SessionId, Session> sessions_{};
  std::map<std::string, SessionId> current_{};      ///< connected session by host
  std::map<std::string, std::uint64_t> left_at_{};  ///< value of writes_ at the last disconnect
  std::uint64_t writes_ = 0;                        ///< orders connects and disconnects
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< gone with the pool
};

}  // namespace reeve::server
