#include "agent/composition.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/console/consoles.h"
#include "agent/driver/core/driver.h"
#include "agent/driver/libvirt/driver.h"
#include "agent/driver/sim/driver.h"
#include "agent/host/machine_probe.h"
#include "agent/link/agent_core.h"
#include "agent/link/dir_outbox.h"
#include "agent/link/grpc_console.h"
#include "agent/link/grpc_link.h"
#include "agent/link/renewer.h"
#include "agent/storage/dir_store.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/random.h"
#include "base/thread.h"

namespace reeve::agent {
namespace {

Result<Fd> lock_data(const std::string& data) {
  Fd fd = TRY(open_file(data + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return errno_error("locking the data folder");
  return Error{Code::FailedPrecondition, "DATA_FOLDER_BUSY",
               "another agent runs on '" + data + "'"};
}

/// Declared in the order in which things need each other; destroyed the other way round.
class RunningAgent final : public Agent {
 public:
  RunningAgent(std::string data, AgentConfig config)
      : data_(std::move(data)), config_(std::move(config)), identity_(data_) {}
  ~RunningAgent() override {
    renewer_.reset();
    // The core goes first, on its loop: long copies see that they are cancelled, and what workers
    // still answer is dropped - the server finds out by observing after the next start.
    loop_.run_and_wait([this] { core_.reset(); });
    workers_.reset();
    loop_.stop();
  }

  Status begin() {
    lock_ = TRY(lock_data(data_));
    const v1::Identity identity = TRY(identity_.identity());
    outbox_ = TRY(DirOutbox::open(data_));
    store_ = TRY(DirStore::open({.data = data_, .import_dirs = config_.import_dirs}));
    const reeve::v1::KvmFacts kvm = probe_kvm_here();
    log::info("kvm probed", {{"usable", kvm.usable()}, {"description", kvm.description()}});
    probe_ = std::make_unique<MachineProbe>(HostRoot{}, kvm);
    TRY(attach_drivers(kvm));
    link_ = std::make_unique<GrpcLink>(identity_, identity.link_address());
    Consoles::Drivers drivers;
    for (const auto& [id, driver] : drivers_) drivers.emplace(id, driver.get());
    consoles_ = std::make_unique<Consoles>(data_ + "/guests", *store_, std::move(drivers),
                                           static_cast<std::uint64_t>(config_.console_kib) << 10);
    relays_ = std::make_unique<GrpcConsoles>(*consoles_, *link_);
    workers_ =
        std::make_unique<WorkerPool>("worker", static_cast<std::size_t>(config_.worker_threads));
    TRY(make_core(identity));
    renewer_ = std::make_unique<Renewer>(identity_, RealClock::instance());
    loop_.post([this] { core_->start(); });
    log::info("agent started",
              {{"host", identity.host_uid()}, {"server", identity.link_address()}});
    return {};
  }

 private:
  Status attach_core(const reeve::v1::KvmFacts& kvm) {
    if (config_.core == "off") return {};
    core_driver::CoreOptions options;
    options.records = data_ + "/core";
    options.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reeve-vmm";
    options.version = REEVE_VERSION;
    options.boot_id = read_boot_id(HostRoot{});
    options.usable = kvm.usable() || (config_.core == "any" && ::access("/dev/kvm", R_OK) == 0);
    options.description = kvm.description();
    drivers_.emplace(
        "core", TRY(core_driver::CoreDriver::create(std::move(options), RealClock::instance())));
    return {};
  }

  Status attach_drivers(const reeve::v1::KvmFacts& kvm) {
    TRY(attach_core(kvm));
    for (const auto& one : config_.libvirt) {
      libvirt::LibvirtOptions options;
      options.uri = one.uri;
      options.kvm_usable = kvm.usable();
      options.confine = config_.confine_guests;
      options.disk_cache = config_.disk_cache;
      auto driver = TRY(libvirt::LibvirtDriver::create(std::move(options), RealClock::instance(),
                                                       SystemRandom::instance()));
      if (!drivers_.emplace(one.id, std::move(driver)).second)
        return Error(Code::InvalidArgument, "BAD_CONFIG",
                     "two hypervisors of this host are called '" + one.id + "'")
            .remedy("give each of them an id of its own ([[hypervisor]] in the configuration)");
    }
    if (!config_.simulate) return {};
    sim_loop_ = std::make_unique<ThreadLoop>("sim");
    sim_ = std::make_unique<SimHypervisor>(*sim_loop_, SystemRandom::instance());
    drivers_.emplace("sim", std::make_unique<SimDriver>(*sim_));
    return {};
  }

  Status make_core(const v1::Identity& identity) {
    AgentParts parts;
    parts.loop = &loop_;
    parts.workers = workers_.get();
    parts.random = &SystemRandom::instance();
    parts.channel = link_.get();
    parts.outbox = outbox_.get();
    parts.probe = probe_.get();
    parts.consoles = relays_.get();
    for (const auto& [id, driver] : drivers_) parts.world.drivers.emplace(id, driver.get());
    parts.world.store = store_.get();
    parts.world.uploads = link_.get();
    parts.world.clock = &RealClock::instance();
    auto& policy = parts.world.policy;
    policy.any_bridge =
        std::find(config_.bridges.begin(), config_.bridges.end(), "*") != config_.bridges.end();
    policy.bridges.insert(config_.bridges.begin(), config_.bridges.end());
    AgentSettings settings;
    settings.session.host_uid = identity.host_uid();
    settings.session.version = REEVE_VERSION;
    settings.session.boot_id = read_boot_id(HostRoot{});
    settings.observer.version = REEVE_VERSION;
    core_ = TRY(AgentCore::create(std::move(parts), std::move(settings)));
    return {};
  }

  const std::string data_;
  const AgentConfig config_;
  Fd lock_{};
  const IdentityFiles identity_;
  std::unique_ptr<DirOutbox> outbox_{};
  std::unique_ptr<DirStore> store_{};
  std::unique_ptr<MachineProbe> probe_{};
  std::unique_ptr<ThreadLoop> sim_loop_{};
  std::unique_ptr<SimHypervisor> sim_{};
  std::map<std::string, std::unique_ptr<Driver>> drivers_{};
  std::unique_ptr<GrpcLink> link_{};
  std::unique_ptr<Consoles> consoles_{};
  std::unique_ptr<GrpcConsoles> relays_{};
  ThreadLoop loop_{"agent"};
  std::unique_ptr<AgentCore> core_{};
  std::unique_ptr<WorkerPool> workers_{};
  std::unique_ptr<Renewer> renewer_{};
};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::start(const std::string& data, const AgentConfig& config) {
  auto agent = std::make_unique<RunningAgent>(data, config);
  TRY(agent->begin());
  return std::unique_ptr<Agent>(std::move(agent));
}

}  // namespace reeve::agent
