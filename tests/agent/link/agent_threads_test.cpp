// The core on real threads, as in the daemon, for the thread sanitizer: many steps at once, and an
// end in the middle of them.
#include <map>

#include <catch2/catch.hpp>

#include "agent/link/dir_outbox.h"
#include "agent/storage/dir_store.h"
#include "tests/agent/link/fake_server.h"
#include "tests/support/temp_dir.h"

using namespace reeve;
using namespace reeve::test;
using namespace std::chrono_literals;
namespace av1 = reeve::agent::v1;

namespace {

/// Answers at once, from within send().
class EchoServer final : public agent::ServerChannel {
 public:
  std::unique_ptr<agent::Connection> connect(agent::ConnectionEvents events) override {
    Lock lock(mutex_);
    events_ = std::move(events);
    return std::make_unique<Wire>(*this);
  }
  void run(const std::string& key, const av1::Action& action) {
    av1::ConnectResponse message;
    message.mutable_run_step()->set_key(key);
    message.mutable_run_step()->set_epoch(1);
    *message.mutable_run_step()->mutable_action() = action;
    deliver(message);
  }
  void wait_connected() {
    Lock lock(mutex_);
    while (!connected_) change_.wait(lock);
  }
  /// Waits until the step has ended; true when it succeeded.
  bool ended_well(const std::string& key) {
    Lock lock(mutex_);
    while (!results_.contains(key)) change_.wait(lock);
    return results_[key];
  }

 private:
  class Wire final : public agent::Connection {
   public:
    explicit Wire(EchoServer& server) : server_(server) {}
    void send(av1::ConnectRequest message) override { server_.take(message); }
    std::size_t backlog() const override { return 0; }

   private:
    EchoServer& server_;
  };
  void deliver(const av1::ConnectResponse& message) {
    agent::ConnectionEvents events;
    {
      Lock lock(mutex_);
      events = events_;
    }
    events.received(message);
  }
  void take(const av1::ConnectRequest& message) {
    av1::ConnectResponse reply;
    if (message.has_hello()) {
      reply.mutable_welcome()->set_epoch(1);
      reply.mutable_welcome()->set_heartbeat_ms(60'000);
      reply.mutable_welcome()->set_metrics_ms(1'000);
      deliver(reply);
    }
    if (message.has_step_result()) {
      reply.mutable_acknowledge_results()->add_keys(message.step_result().key());
      deliver(reply);
    }
    Lock lock(mutex_);
    connected_ = connected_ || message.has_observation();
    if (message.has_step_result())
      results_[message.step_result().key()] = !message.step_result().has_error();
    change_.notify_all();
  }

  Mutex mutex_;
  CondVar change_;
  agent::ConnectionEvents events_ REEVE_GUARDED_BY(mutex_);
  bool connected_ REEVE_GUARDED_BY(mutex_) = false;
  std::map<std::string, bool> results_ REEVE_GUARDED_BY(mutex_);
};

}  // namespace

TEST_CASE("on real threads many guests are made at once, and the end comes in the middle",
          "[agent]") {
  TempDir dir;
  EchoServer server;
  auto& random = SystemRandom::instance();
  auto outbox = agent::DirOutbox::open(dir.path().string()).value();
  auto store = agent::DirStore::open({.data = dir.path().string()}).value();
  agent::FixedHostProbe probe{{}};
  agent::SimUploads uploads;
  ThreadLoop machine("machine");
  agent::SimHypervisor hypervisor(machine, random);
  agent::SimDriver driver(hypervisor);
  ThreadLoop loop("agent");
  auto workers = std::make_unique<WorkerPool>("worker", 4);
  agent::AgentParts parts;
  parts.loop = &loop;
  parts.workers = workers.get();
  parts.random = &random;
  parts.channel = &server;
  parts.outbox = outbox.get();
  parts.probe = &probe;
  parts.world.drivers = {{"sim", &driver}};
  parts.world.store = store.get();
  parts.world.uploads = &uploads;
  parts.world.clock = &RealClock::instance();
  auto core = agent::AgentCore::create(std::move(parts), {}).value();
  loop.post([&] { core->start(); });
  server.wait_connected();

  SimWorld names(1);
  std::vector<av1::GuestSpec> specs;
  for (int i = 0; i < 10; ++i) specs.push_back(a_guest(names, "vm-" + std::to_string(i)));
  const auto on_all = [&](av1::Action (*action)(const av1::GuestSpec&)) {
    std::vector<std::string> keys;
    for (const auto& spec : specs) {
      keys.push_back(new_uuid(random) + "/0");
      server.run(keys.back(), action(spec));
    }
    for (const auto& key : keys) CHECK(server.ended_well(key));
  };
  on_all(prepare);
  on_all(define);
  on_all(start);
  for (const auto& spec : specs) server.run(new_uuid(random) + "/1", stop(spec, 60'000));
  loop.run_and_wait([&] { core.reset(); });
  workers.reset();
  loop.stop();
  for (const auto& spec : specs) CHECK(hypervisor.starts_of(spec.uid()) == 1);
}
