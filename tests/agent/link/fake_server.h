// tests/agent/link/fake_server.h - the other end of the link, in a SimWorld: says welcome, records
// what comes, can be cut off, and a whole simulated host around an AgentCore.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/driver/sim/driver.h"
#include "agent/link/agent_core.h"
#include "agent/storage/sim_store.h"
#include "base/sim_loop.h"
#include "base/uuid.h"

namespace reeve::test {

class FakeServer final : public agent::ServerChannel {
 public:
  explicit FakeServer(SimWorld& world) : loop_(world) {}

  std::unique_ptr<agent::Connection> connect(agent::ConnectionEvents events) override;
  void send(agent::v1::ConnectResponse message);
  void cut();
  void run(const std::string& key, const agent::v1::Action& action);
  void observe(const std::string& key, const agent::v1::Action& action);
  void acknowledge(const std::string& key);
  std::optional<agent::v1::StepResult> result(const std::string& key) const;
  int count_results(const std::string& key) const;

  bool reachable = true;
  bool answers = true;  ///< false: takes connections and says nothing
  std::uint64_t epoch = 1;
  std::int64_t heartbeat_ms = 5000;
  std::int64_t metrics_ms = 0;
  std::optional<agent::v1::Refusal> refusal{};
  int connections = 0;
  std::vector<agent::v1::ConnectRequest> received{};  ///< of all connections
  Picture picture{};
  bool drifted = false;               ///< a digest or a sequence was wrong
  std::vector<std::string> images{};  ///< of the last full observation
  bool images_unknown = false;
  int full_observations = 0;

 private:
  struct Wire {
    agent::ConnectionEvents events{};
    bool open = true;
    std::uint64_t sequence = 0;
  };
  class WireEnd;
  void take(Wire& wire, const agent::v1::ConnectRequest& message);

  SimLoop loop_;
  std::shared_ptr<Wire> wire_{};
};

/// Workers with a queue before them: whatever they are given waits for `wait` first.
class QueuedWorkers final : public Workers {
 public:
  QueuedWorkers(Loop& loop, const std::chrono::milliseconds& wait) : loop_(loop), wait_(wait) {}
  void run(Task work) override {
    if (wait_.count() == 0) return loop_.post(std::move(work));
    loop_.post_after(wait_, std::move(work));
  }

 private:
  Loop& loop_;
  const std::chrono::milliseconds& wait_;
};

/// Disk, hypervisor and outbox outlive the agent, as on a real host.
struct FakeHost {
  explicit FakeHost(SimWorld& sim_world, FakeServer& server);
  void start();
  void crash() {
    core.reset();
    workers.reset();
    loop.reset();
    driver.reset();
  }

  SimWorld& world;
  FakeServer& server;
  std::string uid;
  SimLoop machine;
  SeededRandom chance{7};
  agent::SimHypervisor hypervisor;
  agent::SimDisk disk{};
  agent::SimOutbox::Disk outbox_disk{};
  agent::SimOutbox outbox{outbox_disk};
  agent::SimStore store;
  agent::SimUploads uploads{};
  agent::FixedHostProbe probe{{}};
  std::unique_ptr<agent::SimDriver> driver{};
  std::unique_ptr<SimLoop> loop{};
  std::chrono::milliseconds worker_queue{0};
  std::unique_ptr<QueuedWorkers> workers{};
  std::unique_ptr<agent::AgentCore> core{};
};

agent::v1::GuestSpec a_guest(SimWorld& world, const std::string& name);
agent::v1::Action prepare(const agent::v1::GuestSpec& spec);
agent::v1::Action define(const agent::v1::GuestSpec& spec);
agent::v1::Action start(const agent::v1::GuestSpec& spec);
agent::v1::Action stop(const agent::v1::GuestSpec& spec, std::int64_t grace_ms);

}  // namespace reeve::test
