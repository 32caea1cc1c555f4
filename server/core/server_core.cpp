#include "server/core/server_core.h"

#include "base/uuid.h"
#include "db/repo/meta_repo.h"
#include "db/repo/vm_repo.h"
#include "server/agents/sightings.h"
#include "server/app/views.h"
#include "server/core/core_parts.h"
#include "server/core/housekeeping.h"
#include "server/events/feed.h"

namespace reeve::server {

namespace {

class Core final : public ServerCore {
 public:
  Core(const CoreParts& parts, const Beginning& beginning)
      : parts_(parts),
        feed_({.loop = *parts.feed_loop, .readers = *parts.readers}),
        pool_({.loop = *parts.loop,
               .writer = *parts.writer,
               .random = *parts.random,
               .live = live_,
               .sha256 = parts.sha256,
               .epoch = beginning.epoch,
               .settings = {.version = parts.settings.version,
                            .heartbeat = parts.settings.heartbeat,
                            .metrics = parts.settings.metrics,
                            .host_timeout = parts.settings.host_timeout}}),
        runner_({.loop = *parts.loop,
                 .writer = *parts.writer,
                 .readers = *parts.readers,
                 .random = *parts.random,
                 .agents = pool_,
                 .sha256 = parts.sha256,
                 .settings = {.unreachable_grace = parts.settings.unreachable_grace,
                              .macs = parts.settings.macs.value_or(
                                  MacPool::of_server(beginning.server_uid))},
                 .on_progress = [this](const v1::Job& job) { feed_.on_progress(job); }}),
        housekeeping_(parts) {
    const ServiceParts services{.core = parts, .live = &live_, .pool = &pool_, .runner = &runner_};
    vms_ = make_vm_service(services);
    hosts_ = make_host_service(services);
    hypervisors_ = make_hypervisor_service(services);
    images_ = make_image_service(services);
    jobs_ = make_job_service(services);
    pool_.report_to(runner_);
  }

  void start(std::vector<LoadedJob> jobs) {
    runner_.recover(std::move(jobs));
    pool_.start();
    housekeeping_.start();
  }

  VmService& vms() override { return *vms_; }
  HostService& hosts() override { return *hosts_; }
  HypervisorService& hypervisors() override { return *hypervisors_; }
  ImageService& images() override { return *images_; }
  JobService& jobs() override { return *jobs_; }
  AgentPool& agents() override { return pool_; }
  EventFeed& events() override { return feed_; }
  std::uint64_t epoch() const override { return pool_.epoch(); }
  void on_commit(std::int64_t, std::int64_t) override { feed_.on_commit(); }
  void stop() override {
    parts_.feed_loop->post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) feed_.stop();
    });
  }
  std::weak_ptr<bool> alive() const { return alive_; }

 private:
  const CoreParts parts_;
  LiveFacts live_;
  Feed feed_;
  Pool pool_;
  Runner runner_;
  Housekeeping housekeeping_;
  std::unique_ptr<VmService> vms_;
  std::unique_ptr<HostService> hosts_;
  std::unique_ptr<HypervisorService> hypervisors_;
  std::unique_ptr<ImageService> images_;
  std::unique_ptr<JobService> jobs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

namespace {

/// Once, after the migration that made the tables of what machines are made with: from their
/// documents.
Status fill_vm_devices(db::Transaction& tx) {
  constexpr std::string_view kMissing = "vm_devices_missing";
  db::MetaRepo meta(tx);
  if (TRY(meta.integer(kMissing)) == 0) return {};
  db::VmRepo repo(tx);
  db::Page page{.limit = 500};
  while (true) {
    const auto rows = TRY(repo.list({}, db::ObjectOrder::Name, page));
    for (const auto& row : rows) {
      const auto vm = TRY(document<v1::VirtualMachine>(row.spec, "machine " + row.uid));
      TRY(repo.set_devices(row.uid, devices_of(vm.spec())));
    }
    if (static_cast<int>(rows.size()) < page.limit) break;
    page.after = db::key_of(rows.back(), db::ObjectOrder::Name);
  }
  return meta.set_integer(kMissing, 0);
}

}  // namespace

Result<Beginning> begin_server(db::Database& database, const Clock& clock, Random& random) {
  auto tx = TRY(database.begin());
  Beginning beginning;
  db::MetaRepo meta(tx);
  beginning.epoch = static_cast<std::uint64_t>(TRY(meta.next_epoch()));
  beginning.server_uid = TRY(meta.server_uid(new_uuid(random)));
  TRY(mark_all_disconnected(tx, clock.wall()));
  TRY(fill_vm_devices(tx));
  TRY(tx.commit());
  return beginning;
}

Result<std::unique_ptr<ServerCore>> ServerCore::create(const CoreParts& parts,
                                                       const Beginning& beginning) {
  auto jobs =
      TRY(parts.readers->read([](db::ReadTransaction& tx) { return load_active_jobs(tx); }));
  auto core = std::make_unique<Core>(parts, beginning);
  // Everything that drives jobs happens on the loop.
  parts.loop->post([core = core.get(), alive = core->alive(), jobs = std::move(jobs)]() mutable {
    if (!alive.expired()) core->start(std::move(jobs));
  });
  return std::unique_ptr<ServerCore>(std::move(core));
}

}  // namespace reeve::server
