#include "base/uuid.h"
#include "tests/sim/cluster.h"

namespace reeve::test {

using namespace agent;

namespace {
reeve::v1::HostStatus facts_of_host() {
  reeve::v1::HostStatus facts;
  facts.set_memory_mib(16 * 1024);
  facts.mutable_cpu()->set_threads(8);
  return facts;
}

const char* point_of(const agent::v1::ConnectResponse& message) {
  if (message.has_run_step()) return "run";
  if (message.has_observe_step()) return "observe";
  if (message.has_acknowledge_results()) return "acknowledge";
  return nullptr;
}
const char* point_of(const agent::v1::ConnectRequest& message) {
  if (message.has_step_result()) return "result";
  if (message.has_step_seen()) return "seen";
  return nullptr;
}
}  // namespace

struct SimHost::Wire {
  agent::ConnectionEvents events{};
  server::SessionId session = 0;
  bool open = true;
  bool frozen = false;
};

class SimHost::AgentEnd final : public Connection {
 public:
  AgentEnd(SimHost& host, std::shared_ptr<Wire> wire)
      : host_(host), cluster_(host.cluster_), wire_(std::move(wire)) {}
  ~AgentEnd() override {
    if (!std::exchange(wire_->open, false)) return;
    cluster_.net.post([cluster = &cluster_, wire = wire_] {
      if (cluster->core_) cluster->core_->agents().closed(wire->session);
    });
  }
  void send(agent::v1::ConnectRequest message) override {
    if (message.observation().full()) ++host_.full_observations;
    cluster_.net.post([cluster = &cluster_, wire = wire_, message = std::move(message)] {
      if (!wire->open || wire->frozen) return;
      const char* name = point_of(message);
      if (name) cluster->point(std::string("before ") + name);
      if (!wire->open || !cluster->core_) return;
      cluster->core_->agents().receive(wire->session, message);
      if (name) cluster->point(std::string("after ") + name);
    });
  }
  std::size_t backlog() const override { return 0; }

 private:
  SimHost& host_;
  Cluster& cluster_;
  std::shared_ptr<Wire> wire_;
};

class SimHost::ServerEnd final : public server::AgentChannel {
 public:
  ServerEnd(SimHost& host, std::shared_ptr<Wire> wire)
      : host_(host), cluster_(host.cluster_), wire_(std::move(wire)) {}
  void send(const agent::v1::ConnectResponse& message) override {
    cluster_.net.post([host = &host_, cluster = &cluster_, wire = wire_, message] {
      if (!wire->open || wire->frozen) return;
      const char* name = point_of(message);
      if (name) cluster->point(std::string("before ") + name);
      if (!wire->open) return;
      if (message.has_run_step()) host->prepare(message.run_step(), *wire);
      wire->events.received(message);
      if (name) cluster->point(std::string("after ") + name);
    });
  }
  void close() override {
    cluster_.net.post([wire = wire_] {
      if (std::exchange(wire->open, false))
        wire->events.closed({Code::Unavailable, "LINK_LOST", "the server ended it"});
    });
  }

 private:
  SimHost& host_;
  Cluster& cluster_;
  std::shared_ptr<Wire> wire_;
};

/// What happens on the host just before a step arrives: a client begins the upload that it needs,
/// and the rehearsal.
void SimHost::prepare(const agent::v1::RunStep& step, Wire& wire) {
  const auto& upload = step.action().import_image().upload();
  if (!upload.ticket().empty() && offered_.insert(upload.ticket()).second)
    uploads_.sizes[upload.ticket()] = upload.size_bytes();
  if (!cluster_.steps_run_twice) return;
  agent::v1::ConnectResponse rehearsal;
  *rehearsal.mutable_run_step() = step;
  rehearsal.mutable_run_step()->set_key(new_uuid(cluster_.world.random()) + "/0");
  wire.events.received(rehearsal);
}

SimHost::SimHost(Cluster& cluster, std::string host_uid, std::string host_name)
    : uid(std::move(host_uid)),
      name(std::move(host_name)),
      machine(cluster.world),
      chance(cluster.world.random().below(1'000'000)),
      hypervisor(machine, chance),
      cluster_(cluster),
      store_(disk, cluster.world.clock()),
      probe_(facts_of_host()) {
  disk.reached = [this](std::string_view point) {
    if (cluster_.store_points) cluster_.point("store " + std::string(point));
  };
  disk.host_files["/images/base"] = {.size_bytes = 1 << 20, .sha256 = std::string(64, 'a')};
}

SimHost::~SimHost() {
  kill_agent();
}

void SimHost::start_agent() {
  if (core_) return;
  loop_ = std::make_unique<SimLoop>(cluster_.world);
  workers_ = std::make_unique<LoopWorkers>(*loop_);
  driver_ = std::make_unique<SimDriver>(hypervisor);
  AgentParts parts;
  parts.loop = loop_.get();
  parts.workers = workers_.get();
  parts.random = &cluster_.world.random();
  parts.channel = this;
  parts.outbox = &outbox_;
  parts.probe = &probe_;
  parts.world.drivers = {{"sim", driver_.get()}};
  parts.world.store = &store_;
  parts.world.uploads = &uploads_;
  parts.world.clock = &cluster_.world.clock();
  parts.world.policy.hypervisors = {"sim"};
  AgentSettings settings;
  settings.session = session;
  settings.session.host_uid = uid;
  settings.observer.version = session.version;
  core_ = AgentCore::create(std::move(parts), settings).value();
  core_->start();
}

void SimHost::kill_agent() {
  cut();
  core_.reset();
  workers_.reset();
  loop_.reset();
  driver_.reset();
}

void SimHost::die() {
  cut();
  const Error dead(Code::Internal, "SYSTEM_CALL", "this agent is dead");
  outbox_disk.full = true;
  disk.fault = [dead](std::string_view) -> Status { return dead; };
  cluster_.net.post([this] {
    kill_agent();
    outbox_disk.full = false;
    disk.fault = nullptr;
  });
}

void SimHost::cut() {
  if (!wire_ || !wire_->open) return;
  wire_->open = false;
  cluster_.net.post([cluster = &cluster_, wire = wire_, host = this] {
    if (cluster->core_) cluster->core_->agents().closed(wire->session);
    // The agent may be another one by now: it does not know this connection.
    if (host->wire_ == wire && host->core_)
      wire->events.closed({Code::Unavailable, "LINK_LOST", "cut"});
  });
}

void SimHost::set_reachable(bool reachable) {
  reachable_ = reachable;
  if (!reachable) cut();
}

void SimHost::freeze() {
  if (wire_) wire_->frozen = true;
}

std::unique_ptr<Connection> SimHost::connect(ConnectionEvents events) {
  auto wire = std::make_shared<Wire>();
  wire->events = std::move(events);
  wire_ = wire;
  if (!reachable_ || !cluster_.core_) {
    cluster_.net.post([wire] {
      if (std::exchange(wire->open, false))
        wire->events.closed({Code::Unavailable, "SERVER_UNREACHABLE", "no route"});
    });
  } else {
    wire->session = cluster_.core_->agents().open(uid, std::make_shared<ServerEnd>(*this, wire));
  }
  return std::make_unique<AgentEnd>(*this, wire);
}

}  // namespace reeve::test
