// bench/jobs_bench.cpp - durable step transitions per second of the whole job path, beside the
// disk's fsync.
//
//   jobs_bench [--seconds N] [--dir FOLDER] [--min-rate N]
//
// The server's core on a real file: request -> plan -> commit -> RunStep -> result -> commit ->
// acknowledge, with an agent that answers at once. A StartVm or StopVm job has two durable
// transitions (begun, done). Measured with 1 and with 64 jobs in flight; `fsync` appends 4 KiB and
// fdatasyncs on the same disk. Exits 1 below --min-rate at 64.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/crypto/sha256.h"
#include "base/log.h"
#include "base/uuid.h"
#include "db/group_writer.h"
#include "db/repo/host_repo.h"
#include "db/repo/hypervisor_repo.h"
#include "db/repo/vm_repo.h"
#include "db/store.h"
#include "proto/picture.h"
#include "server/app/views.h"
#include "server/core/server_core.h"

namespace reeve::bench {
namespace {

using Steady = std::chrono::steady_clock;
constexpr int kVms = 64;

template <class T>
T must(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "jobs_bench: %s\n", result.error().message().c_str());
  std::exit(2);
}
void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "jobs_bench: %s\n", status.error().message().c_str());
  std::exit(2);
}

/// Answers every step at once, on a thread of its own.
class QuickAgent final : public server::AgentChannel {
 public:
  explicit QuickAgent(server::AgentPool& pool) : pool_(pool) {}
  void set_session(server::SessionId session) { session_ = session; }
  void send(const agent::v1::ConnectResponse& message) override {
    if (message.has_welcome()) welcomed = true;
    if (!message.has_run_step()) return;
    loop_.post([this, key = message.run_step().key()] {
      agent::v1::ConnectRequest answer;
      answer.mutable_step_result()->set_key(key);
      pool_.receive(session_, std::move(answer));
    });
  }
  void close() override {}
  std::atomic<bool> welcomed{false};

 private:
  server::AgentPool& pool_;
  std::atomic<server::SessionId> session_{0};
  ThreadLoop loop_{"agent"};
};

struct Estate {
  std::string host{};
  std::vector<std::string> vms{};
};

Estate fill(db::Database& database, Random& random) {
  Estate estate;
  auto tx = must(database.begin());
  const db::Change change{.actor = "bench", .time = RealClock::instance().wall()};
  estate.host = new_uuid(random);
  auto host = server::enrolled_host(estate.host, "bench", "key");
  v1::HostStatus status;
  status.set_memory_mib(1 << 20);
  host.status = status.SerializeAsString();
  must(db::HostRepo(tx).insert(std::move(host), change));
  v1::Hypervisor shown;
  shown.set_available(true);
  db::Hypervisor hypervisor;
  hypervisor.uid = new_uuid(random);
  hypervisor.name = "sim";
  hypervisor.host_uid = estate.host;
  hypervisor.kind = "sim";
  hypervisor.state = "available";
  hypervisor.status = shown.SerializeAsString();
  must(db::HypervisorRepo(tx).insert(hypervisor, change));
  for (int i = 0; i < kVms; ++i) {
    db::Vm vm;
    vm.uid = new_uuid(random);
    vm.name = "vm" + std::to_string(i);
    vm.host_uid = estate.host;
    vm.hypervisor_uid = hypervisor.uid;
    vm.state = "stopped";
    vm.cpus = 1;
    vm.memory_mib = 256;
    vm.origin = "managed";
    must(db::VmRepo(tx).insert(vm, change));
    estate.vms.push_back(vm.uid);
  }
  must(tx.commit());
  return estate;
}

/// Keeps one machine going on and off for as long as the bench runs.
struct Driver : std::enable_shared_from_this<Driver> {
  server::ServerCore& core;
  std::string vm;
  const server::Caller caller{.actor = "bench",
                              .permissions = server::PermissionSet::all(),
                              .audited_by_front_door = false};
  std::atomic<std::int64_t>& jobs;
  std::atomic<int>& running;
  std::atomic<bool>& stop;
  bool on = false;

  Driver(server::ServerCore& the_core, std::string uid, std::atomic<std::int64_t>& count,
         std::atomic<int>& active, std::atomic<bool>& end)
      : core(the_core), vm("vms/" + uid), jobs(count), running(active), stop(end) {}

  void next() {
    if (stop && !on) {  // left off, as the next measurement expects it
      --running;
      return;
    }
    const auto accepted = [self = shared_from_this()](Result<v1::Job> job) {
      if (!job.ok()) must(std::move(job));
      v1::WaitJobRequest wait;
      wait.set_name(job.value().name());
      self->core.jobs().wait(self->caller, wait, [self](Result<v1::Job> ended) {
        if (must(std::move(ended)).state() != v1::Job::STATE_SUCCEEDED) std::exit(3);
        ++self->jobs;
        self->next();
      });
    };
    on = !on;
    if (on) {
      v1::StartVmRequest request;
      request.set_name(vm);
      return core.vms().start(caller, request, accepted);
    }
    v1::StopVmRequest request;
    request.set_name(vm);
    core.vms().stop(caller, request, accepted);
  }
};

double jobs_per_second(server::ServerCore& core, const Estate& estate, int at_once,
                       double seconds) {
  std::atomic<std::int64_t> jobs{0};
  std::atomic<int> running{at_once};
  std::atomic<bool> stop{false};
  const auto begin = Steady::now();
  for (int i = 0; i < at_once; ++i)
    std::make_shared<Driver>(core, estate.vms[static_cast<std::size_t>(i)], jobs, running, stop)
        ->next();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  const double elapsed = std::chrono::duration<double>(Steady::now() - begin).count();
  const auto done = jobs.load();
  stop = true;
  while (running > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return static_cast<double>(done) / elapsed;
}

double fsyncs_per_second(const std::filesystem::path& dir, double seconds) {
  const auto path = dir / "fsync";
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) std::exit(2);
  const std::vector<char> block(4096, 'x');
  std::int64_t count = 0;
  const auto begin = Steady::now();
  while (std::chrono::duration<double>(Steady::now() - begin).count() < seconds) {
    if (::write(fd, block.data(), block.size()) < 0 || ::fdatasync(fd) != 0) std::exit(2);
    ++count;
  }
  const double elapsed = std::chrono::duration<double>(Steady::now() - begin).count();
  ::close(fd);
  return static_cast<double>(count) / elapsed;
}

int run(const std::filesystem::path& dir, double seconds, double min_rate) {
  auto store = must(db::Store::open({.path = dir / "jobs.db"}));
  auto connection = store->take_writer_connection();
  auto& random = SystemRandom::instance();
  const Estate estate = fill(*connection, random);
  const auto beginning = must(server::begin_server(*connection, RealClock::instance(), random));
  ThreadLoop loop("core");
  ThreadLoop feed("feed");
  std::unique_ptr<server::ServerCore> core;
  db::GroupWriter writer(std::move(connection), [&](std::int64_t first, std::int64_t last) {
    if (core) core->on_commit(first, last);
  });
  server::CoreParts parts;
  parts.loop = &loop;
  parts.feed_loop = &feed;
  parts.writer = &writer;
  parts.readers = &store->readers();
  parts.random = &random;
  parts.sha256 = [](std::string_view bytes) { return crypto::sha256_hex(bytes); };
  core = must(server::ServerCore::create(parts, beginning));
  auto agent = std::make_shared<QuickAgent>(core->agents());
  const auto session = core->agents().open(estate.host, agent);
  agent->set_session(session);
  agent::v1::ConnectRequest hello;
  hello.mutable_hello()->set_host_uid(estate.host);
  core->agents().receive(session, hello);
  while (!agent->welcomed) std::this_thread::sleep_for(std::chrono::milliseconds(1));

  std::atomic<bool> beating{true};
  std::thread heart([&] {
    while (beating) {
      agent::v1::ConnectRequest beat;
      beat.mutable_heartbeat();
      core->agents().receive(session, beat);
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
  });
  const double fsync = fsyncs_per_second(dir, seconds);
  const double one = 2 * jobs_per_second(*core, estate, 1, seconds);
  const double many = 2 * jobs_per_second(*core, estate, kVms, seconds);
  beating = false;
  heart.join();
  std::printf("fsync              %10.0f /s\n", fsync);
  std::printf("transitions,  1 job %9.0f /s\n", one);
  std::printf("transitions, 64 jobs %8.0f /s\n", many);
  core->stop();
  writer.stop();
  loop.stop();
  feed.stop();
  core.reset();
  return many < min_rate ? 1 : 0;
}

}  // namespace
}  // namespace reeve::bench

int main(int argc, char** argv) {
  double seconds = 3;
  double min_rate = 0;
  std::filesystem::path base = std::filesystem::temp_directory_path();
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--min-rate") == 0) min_rate = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--dir") == 0) base = argv[i + 1];
  }
  reeve::log::set_level(reeve::log::Level::Warning);
  std::string name = (base / "jobs-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) return 2;
  const int outcome = reeve::bench::run(name, seconds, min_rate);
  std::filesystem::remove_all(name);
  return outcome;
}
