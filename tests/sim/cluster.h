// tests/sim/cluster.h - one server, its database on a disk that may fail, and hosts with real
// agents over simulated hypervisors, in one process under one seed. Everything can be killed and
// comes back.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/driver/sim/driver.h"
#include "agent/link/agent_core.h"
#include "agent/storage/sim_store.h"
#include "base/sim_loop.h"
#include "db/inline_writer.h"
#include "db/readers.h"
#include "server/core/server_core.h"
#include "tests/support/db_image.h"
#include "tests/support/fault_disk.h"

namespace reeve::test {

class Cluster;

/// A host: its disk and hypervisor outlive its agent.
class SimHost final : public agent::ServerChannel {
 public:
  SimHost(Cluster& cluster, std::string uid, std::string name);
  ~SimHost() override;

  void start_agent();
  void kill_agent();
  /// Ends the agent where it stands, be it in the middle of a step: what it still tries fails.
  void die();
  bool agent_runs() const { return core_ != nullptr; }
  /// Ends the connection; both sides hear of it.
  void cut();
  /// New connections fail while false; an open one is cut.
  void set_reachable(bool reachable);
  /// Messages vanish in both directions and nobody is told, until the connection ends.
  void freeze();

  std::unique_ptr<agent::Connection> connect(agent::ConnectionEvents events) override;

  const std::string uid;
  const std::string name;
  SimLoop machine;
  SeededRandom chance;
  agent::SimHypervisor hypervisor;
  agent::SimDisk disk{};
  agent::SimOutbox::Disk outbox_disk{};
  agent::SessionSettings session{.version = "sim"};  ///< of its next agent
  int full_observations = 0;                         ///< sent by all its agents

 private:
  friend class Cluster;
  struct Wire;
  class AgentEnd;
  class ServerEnd;
  void prepare(const agent::v1::RunStep& step, Wire& wire);

  Cluster& cluster_;
  agent::SimOutbox outbox_{outbox_disk};
  agent::SimStore store_;
  agent::SimUploads uploads_{};
  std::set<std::string> offered_{};  ///< tickets whose client has come; it comes once
  agent::FixedHostProbe probe_;
  bool reachable_ = true;
  std::shared_ptr<Wire> wire_{};
  std::unique_ptr<agent::SimDriver> driver_{};
  std::unique_ptr<SimLoop> loop_{};
  std::unique_ptr<LoopWorkers> workers_{};
  std::unique_ptr<agent::AgentCore> core_{};
};

/// A call that was made: its answer once it has come. Lost for good when the server dies first.
using Answer = std::shared_ptr<std::optional<Result<v1::Job>>>;

class Cluster {
 public:
  explicit Cluster(std::uint64_t seed, int hosts = 1);
  ~Cluster();

  void start_server();
  void kill_server(FaultDisk::Loss loss = FaultDisk::Loss::KillProcess);
  bool server_runs() const { return core_ != nullptr; }
  server::ServerCore& core() { return *core_; }

  /// Starts all, waits until every host is connected and looked at.
  void boot();
  bool run_until(const std::function<bool()>& done,
                 std::chrono::microseconds limit = std::chrono::minutes(30));

  /// A method of a service as a call; `go(reply)` makes it.
  Answer call(const std::function<void(server::Reply<v1::Job>)>& go);
  /// Waits for the answer; repeats the call (same request_id) when the server died meanwhile.
  Result<v1::Job> must_answer(const std::function<void(server::Reply<v1::Job>)>& go);

  /// Reads; the server need not run.
  Result<v1::Job> job(const std::string& uid);
  std::vector<std::string> locks();
  std::optional<v1::VirtualMachine> vm(const std::string& uid);
  std::vector<v1::VirtualMachine> vms();
  std::vector<v1::Image> images();
  std::int64_t audit_entries();
  std::int64_t revision();

  /// Waits until a job has ended; parked ones are resolved with a choice drawn by the seed, hosts
  /// that a fault left unreachable come back. The job as it ended.
  v1::Job finish(const std::string& job_uid);
  /// Faults end, everything is up and has been seen.
  void calm();
  /// What does not hold; empty when all is well. Call after calm().
  std::string broken_promise();

  const server::Caller caller{
      .actor = "tokens/sim", .peer = "sim", .permissions = server::PermissionSet::all()};
  SimWorld world;
  FaultDisk disk;
  SimLoop net;
  std::vector<std::unique_ptr<SimHost>> hosts{};
  /// Counts and may act on what happens: "commit", and per step message before and after delivery.
  std::function<void(const std::string& point)> on_point{};
  /// What agents do to their disks counts as points too; only die() may strike there.
  bool store_points = false;
  /// Agents execute every step, forwards and backwards, once more before the one that counts.
  bool steps_run_twice = false;
  std::set<std::string> acknowledged{};  ///< jobs that a caller was told of
  std::set<std::string> abandoned_targets{};
  int times_parked = 0;

 private:
  friend class SimHost;
  template <class Work>
  auto read(Work work);
  void point(const std::string& name) {
    if (on_point) on_point(name);
  }
  void watch_feed();
  std::string broken_host(SimHost& host);
  std::string broken_feed();

  std::unique_ptr<SimLoop> loop_{};
  std::unique_ptr<db::Readers> readers_{};
  std::unique_ptr<db::InlineWriter> writer_{};
  std::unique_ptr<server::ServerCore> core_{};
  std::unique_ptr<server::Watch> watch_{};
  std::int64_t watched_ = 0;       ///< last revision seen
  std::set<std::int64_t> seen_{};  ///< revisions that the watcher was given
  std::string feed_trouble_{};
};

}  // namespace reeve::test
