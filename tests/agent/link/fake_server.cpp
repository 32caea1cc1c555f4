#include "tests/agent/link/fake_server.h"

#include "base/crypto/sha256.h"

namespace reeve::test {

using namespace agent;
namespace av1 = agent::v1;

class FakeServer::WireEnd final : public Connection {
 public:
  WireEnd(FakeServer& server, std::shared_ptr<Wire> wire)
      : server_(server), wire_(std::move(wire)) {}
  ~WireEnd() override { wire_->open = false; }
  void send(av1::ConnectRequest message) override {
    server_.loop_.post([this_wire = wire_, server = &server_, message = std::move(message)] {
      if (this_wire->open) server->take(*this_wire, message);
    });
  }
  std::size_t backlog() const override { return 0; }

 private:
  FakeServer& server_;
  std::shared_ptr<Wire> wire_;
};

std::unique_ptr<Connection> FakeServer::connect(ConnectionEvents events) {
  ++connections;
  auto wire = std::make_shared<Wire>();
  wire->events = std::move(events);
  wire_ = wire;
  if (!reachable) cut();
  return std::make_unique<WireEnd>(*this, wire);
}

void FakeServer::cut() {
  loop_.post([wire = wire_] {
    if (!wire || !std::exchange(wire->open, false)) return;
    wire->events.closed({Code::Unavailable, "LINK_LOST", "cut"});
  });
}

void FakeServer::send(av1::ConnectResponse message) {
  loop_.post([wire = wire_, message = std::move(message)] {
    if (wire && wire->open) wire->events.received(message);
  });
}

void FakeServer::take(Wire& wire, const av1::ConnectRequest& message) {
  received.push_back(message);
  if (message.has_hello() && answers) {
    av1::ConnectResponse reply;
    if (refusal) {
      *reply.mutable_refusal() = *refusal;
    } else {
      reply.mutable_welcome()->set_epoch(epoch);
      reply.mutable_welcome()->set_heartbeat_ms(heartbeat_ms);
      reply.mutable_welcome()->set_metrics_ms(metrics_ms);
    }
    send(reply);
  }
  if (message.has_heartbeat() && answers) {
    av1::ConnectResponse reply;
    reply.mutable_heartbeat();
    send(reply);
  }
  if (!message.has_observation()) return;
  const auto& delta = message.observation();
  if (delta.sequence() != ++wire.sequence) drifted = true;
  picture.apply(delta);
  if (delta.full()) {
    images.assign(delta.images().begin(), delta.images().end());
    images_unknown = delta.images_unknown();
    ++full_observations;
  }
  if (crypto::sha256_hex(picture.canonical()) != delta.digest()) drifted = true;
}

void FakeServer::run(const std::string& key, const av1::Action& action) {
  av1::ConnectResponse message;
  message.mutable_run_step()->set_key(key);
  message.mutable_run_step()->set_epoch(epoch);
  *message.mutable_run_step()->mutable_action() = action;
  send(message);
}

void FakeServer::observe(const std::string& key, const av1::Action& action) {
  av1::ConnectResponse message;
  message.mutable_observe_step()->set_key(key);
  *message.mutable_observe_step()->mutable_action() = action;
  send(message);
}

void FakeServer::acknowledge(const std::string& key) {
  av1::ConnectResponse message;
  message.mutable_acknowledge_results()->add_keys(key);
  send(message);
}

std::optional<av1::StepResult> FakeServer::result(const std::string& key) const {
  for (auto it = received.rbegin(); it != received.rend(); ++it)
    if (it->has_step_result() && it->step_result().key() == key) return it->step_result();
  return {};
}

int FakeServer::count_results(const std::string& key) const {
  int count = 0;
  for (const auto& message : received)
    if (message.has_step_result() && message.step_result().key() == key) ++count;
  return count;
}

FakeHost::FakeHost(SimWorld& sim_world, FakeServer& the_server)
    : world(sim_world),
      server(the_server),
      uid(new_uuid(sim_world.random())),
      machine(sim_world),
      hypervisor(machine, chance),
      store(disk, sim_world.clock()) {}

void FakeHost::start() {
  loop = std::make_unique<SimLoop>(world);
  workers = std::make_unique<QueuedWorkers>(*loop, worker_queue);
  driver = std::make_unique<SimDriver>(hypervisor);
  AgentParts parts;
  parts.loop = loop.get();
  parts.workers = workers.get();
  parts.random = &world.random();
  parts.channel = &server;
  parts.outbox = &outbox;
  parts.probe = &probe;
  parts.world.drivers = {{"sim", driver.get()}};
  parts.world.store = &store;
  parts.world.uploads = &uploads;
  parts.world.clock = &world.clock();
  AgentSettings settings;
  settings.session.host_uid = uid;
  core = AgentCore::create(std::move(parts), settings).value();
  core->start();
}

av1::GuestSpec a_guest(SimWorld& world, const std::string& name) {
  av1::GuestSpec spec;
  spec.set_uid(new_uuid(world.random()));
  spec.set_display_name(name);
  spec.set_hypervisor("sim");
  spec.set_cpus(1);
  spec.set_memory_mib(256);
  auto& disk = *spec.add_disks();
  disk.set_id("disk0");
  disk.set_format(reeve::v1::DISK_FORMAT_QCOW2);
  disk.set_size_bytes(1 << 30);
  return spec;
}

av1::Action prepare(const av1::GuestSpec& spec) {
  av1::Action action;
  *action.mutable_prepare_guest()->mutable_spec() = spec;
  return action;
}
av1::Action define(const av1::GuestSpec& spec) {
  av1::Action action;
  *action.mutable_define_guest()->mutable_spec() = spec;
  return action;
}
av1::Action start(const av1::GuestSpec& spec) {
  av1::Action action;
  action.mutable_start_guest()->set_uid(spec.uid());
  action.mutable_start_guest()->set_hypervisor(spec.hypervisor());
  return action;
}
av1::Action stop(const av1::GuestSpec& spec, std::int64_t grace_ms) {
  av1::Action action;
  action.mutable_stop_guest()->set_uid(spec.uid());
  action.mutable_stop_guest()->set_hypervisor(spec.hypervisor());
  action.mutable_stop_guest()->set_grace_ms(grace_ms);
  return action;
}

}  // namespace reeve::test
