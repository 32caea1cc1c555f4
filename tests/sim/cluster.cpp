#include "tests/sim/cluster.h"

#include <algorithm>

#include "base/crypto/sha256.h"
#include "base/uuid.h"
#include "db/repo/audit_repo.h"
#include "db/repo/feed_repo.h"
#include "db/repo/host_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/job_repo.h"
#include "db/repo/lock_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::test {

using namespace std::chrono_literals;

namespace {
bool is_final(const v1::Job& job) {
  return job.state() == v1::Job::STATE_SUCCEEDED || job.state() == v1::Job::STATE_FAILED ||
         job.state() == v1::Job::STATE_CANCELLED;
}
}  // namespace

Cluster::Cluster(std::uint64_t seed, int host_count) : world(seed), disk(seed), net(world) {
  disk.load(migrated_image());
  auto database =
      db::Database::open(kDatabasePath, {.access = db::Access::Write, .vfs = disk.vfs()}).value();
  auto tx = database->begin().value();
  for (int i = 0; i < host_count; ++i) {
    hosts.push_back(
        std::make_unique<SimHost>(*this, new_uuid(world.random()), "host" + std::to_string(i)));
    auto row =
        server::enrolled_host(hosts.back()->uid, hosts.back()->name, "key" + std::to_string(i));
    (void)db::HostRepo(tx)
        .insert(std::move(row), {.actor = "sim", .time = world.clock().wall()})
        .value();
  }
  (void)tx.commit().value();
}

Cluster::~Cluster() {
  on_point = nullptr;
  for (auto& host : hosts) host->kill_agent();
  if (core_) kill_server();
}

void Cluster::start_server() {
  if (core_) return;
  loop_ = std::make_unique<SimLoop>(world);
  auto database =
      db::Database::open(kDatabasePath, {.access = db::Access::Write, .vfs = disk.vfs()});
  if (!database.ok()) return loop_.reset();
  const auto beginning = server::begin_server(*database.value(), world.clock(), world.random());
  if (!beginning.ok()) return loop_.reset();
  readers_ = std::make_unique<db::Readers>(
      kDatabasePath, db::OpenOptions{.access = db::Access::Read, .vfs = disk.vfs()}, 4);
  writer_ = std::make_unique<db::InlineWriter>(*loop_, std::move(database).value(),
                                               [this](std::int64_t first, std::int64_t last) {
                                                 if (core_) core_->on_commit(first, last);
                                                 net.post([this] { point("commit"); });
                                               });
  server::CoreParts parts;
  parts.loop = loop_.get();
  parts.feed_loop = loop_.get();
  parts.writer = writer_.get();
  parts.readers = readers_.get();
  parts.random = &world.random();
  parts.sha256 = [](std::string_view bytes) { return crypto::sha256_hex(bytes); };
  auto core = server::ServerCore::create(parts, beginning.value());
  if (!core.ok()) {
    writer_.reset();
    readers_.reset();
    return loop_.reset();
  }
  core_ = std::move(core).value();
  watch_feed();
}

void Cluster::kill_server(FaultDisk::Loss loss) {
  if (!core_) return;
  disk.crash_now();
  for (auto& host : hosts) host->cut();
  watch_.reset();
  core_.reset();
  writer_.reset();
  readers_.reset();
  loop_.reset();
  disk.restart(loss);
}

void Cluster::boot() {
  start_server();
  for (auto& host : hosts) host->start_agent();
  calm();
}

bool Cluster::run_until(const std::function<bool()>& done, std::chrono::microseconds limit) {
  return world.run_until(done, limit);
}

Answer Cluster::call(const std::function<void(server::Reply<v1::Job>)>& go) {
  auto answer = std::make_shared<std::optional<Result<v1::Job>>>();
  if (!core_) return answer;
  go([this, answer](Result<v1::Job> job) {
    if (job.ok() && !job.value().uid().empty()) acknowledged.insert(job.value().uid());
    answer->emplace(std::move(job));
  });
  return answer;
}

Result<v1::Job> Cluster::must_answer(const std::function<void(server::Reply<v1::Job>)>& go) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    if (!run_until([&] { return core_ != nullptr; })) break;
    const auto answer = call(go);
    run_until([&] { return answer->has_value() || !core_; }, 1min);
    if (!answer->has_value()) continue;
    const auto& result = **answer;
    const bool again = !result.ok() && (result.error().reason() == "DISK_FULL" ||
                                        result.error().reason() == "DB_IO" ||
                                        result.error().reason() == "HOST_UNREACHABLE" ||
                                        result.error().reason() == "HYPERVISOR_UNAVAILABLE");
    if (!again) return result;
    world.run_for(30s);
  }
  return Error(Code::Unavailable, "NO_ANSWER", "the server never answered");
}

template <class Work>
auto Cluster::read(Work work) {
  db::Readers readers(kDatabasePath, {.access = db::Access::Read, .vfs = disk.vfs()}, 1);
  return readers.read(work);
}

Result<v1::Job> Cluster::job(const std::string& uid) {
  return read([&](db::ReadTransaction& tx) -> Result<v1::Job> {
    const auto row = TRY(db::JobReader(tx).get(uid));
    return server::to_proto(row);
  });
}

std::vector<std::string> Cluster::locks() {
  return read([](db::ReadTransaction& tx) -> Result<std::vector<std::string>> {
           std::vector<std::string> names;
           for (const auto& lock : TRY(db::LockReader(tx).all())) names.push_back(lock.resource);
           return names;
         })
      .value();
}

std::vector<v1::VirtualMachine> Cluster::vms() {
  return read([](db::ReadTransaction& tx) -> Result<std::vector<v1::VirtualMachine>> {
           std::vector<v1::VirtualMachine> all;
           const auto rows = TRY(db::VmReader(tx).list({}, db::ObjectOrder::Name, {.limit = 1000}));
           for (const auto& row : rows) all.push_back(TRY(server::to_proto(row)));
           return all;
         })
      .value();
}

std::optional<v1::VirtualMachine> Cluster::vm(const std::string& uid) {
  for (auto& each : vms())
    if (each.uid() == uid) return each;
  return {};
}

std::vector<v1::Image> Cluster::images() {
  return read([](db::ReadTransaction& tx) -> Result<std::vector<v1::Image>> {
           std::vector<v1::Image> all;
           const auto rows =
               TRY(db::ImageReader(tx).list({}, db::ObjectOrder::Name, {.limit = 1000}));
           for (const auto& row : rows) all.push_back(TRY(server::to_proto(row)));
           return all;
         })
      .value();
}

std::int64_t Cluster::audit_entries() {
  return read([](db::ReadTransaction& tx) {
           return db::AuditReader(tx).verify_chain(
               [](std::string_view bytes) { return crypto::sha256_hex(bytes); });
         })
      .value();
}

std::int64_t Cluster::revision() {
  return read([](db::ReadTransaction& tx) { return db::FeedReader(tx).revision(); }).value();
}

v1::Job Cluster::finish(const std::string& job_uid) {
  const auto moved = [&] {
    const auto now = job(job_uid);
    return now.ok() && (is_final(now.value()) || now.value().state() == v1::Job::STATE_PARKED);
  };
  for (int round = 0; round < 20; ++round) {
    // Looking means opening the database: not after every task.
    for (int i = 0; i < 400 && !moved(); ++i) world.run_for(i < 40 ? 500ms : 5s);
    auto now = job(job_uid);
    if (!now.ok() || is_final(now.value()) || !core_) break;
    if (now.value().state() != v1::Job::STATE_PARKED) break;
    ++times_parked;
    if (now.value().choices().empty()) break;
    calm();
    now = job(job_uid);  // a host that is back lets it go on by itself
    if (now.value().state() != v1::Job::STATE_PARKED) continue;
    const auto& choices = now.value().choices();
    const auto& choice =
        choices[static_cast<int>(world.random().below(static_cast<std::uint64_t>(choices.size())))];
    if (choice.id() == "abandon") abandoned_targets.insert(now.value().target());
    v1::ResolveJobRequest request;
    request.set_name(now.value().name());
    request.set_choice(choice.id());
    (void)must_answer([&](server::Reply<v1::Job> reply) {
      core_->jobs().resolve(caller, request, std::move(reply));
    });
  }
  auto last = job(job_uid);
  return last.ok() ? last.value() : v1::Job{};
}

void Cluster::calm() {
  disk.clear_capacity();
  for (int i = 0; i < 10 && !core_; ++i) start_server();
  for (auto& host : hosts) {
    host->outbox_disk.full = false;
    host->disk.fault = nullptr;
    host->hypervisor.come_back();
    host->hypervisor.set_chances({});
    host->set_reachable(true);
    host->start_agent();
  }
  run_until(
      [&] {
        return std::ranges::all_of(hosts,
                                   [](const auto& host) { return host->core_->is_connected(); });
      },
      5min);
  world.run_for(90s);
}

void Cluster::watch_feed() {
  v1::WatchRequest request;
  request.set_from_revision(watched_);
  auto watch = core_->events().watch(caller, request, [this] {
    loop_->post([this] {
      if (!watch_) return;
      while (auto event = watch_->take()) {
        if (event->type() == v1::Event::TYPE_PROGRESS) continue;
        const bool marker = event->type() == v1::Event::TYPE_BOOKMARK;
        if (event->type() == v1::Event::TYPE_GAP) feed_trouble_ = "a gap was announced";
        if (!marker && event->revision() <= watched_)
          feed_trouble_ = "revision " + std::to_string(event->revision()) + " came after " +
                          std::to_string(watched_);
        watched_ = std::max(watched_, event->revision());
        if (!marker) seen_.insert(event->revision());
      }
      if (watch_->end()) feed_trouble_ = std::string(watch_->end()->reason());
    });
  });
  if (!watch.ok()) {
    feed_trouble_ = "watch refused: " + watch.error().message();
    return;
  }
  watch_ = std::move(watch).value();
}

std::string Cluster::broken_feed() {
  if (!feed_trouble_.empty()) return "feed: " + feed_trouble_;
  return read([&](db::ReadTransaction& tx) -> Result<std::string> {
           for (const auto& version : TRY(db::FeedReader(tx).versions(0, {}, 100'000)))
             if (version.kind != db::ObjectKind::Hypervisor && !seen_.contains(version.revision))
               return "feed: revision " + std::to_string(version.revision) + " was never sent";
           return std::string();
         })
      .value();
}

std::string Cluster::broken_host(SimHost& host) {
  using Vm = v1::VirtualMachine;
  if (host.hypervisor.stale_runs() > 0)
    return "saved memory ran on " + host.name + " although its disk was written since";
  agent::SimDriver driver(host.hypervisor);
  std::map<std::string, agent::GuestSeen> defined;
  const auto listed = driver.list();
  if (!listed.ok()) return "hypervisor cannot list";
  for (const auto& guest : listed.value()) defined[guest.uid] = guest;
  std::set<std::string> expected;
  for (const auto& vm : vms()) {
    if (vm.status().host() != server::host_name(host.uid) || vm.origin() != Vm::ORIGIN_MANAGED)
      continue;
    if (abandoned_targets.contains(vm.name())) {
      defined.erase(vm.uid());
      expected.insert(vm.uid());
      continue;
    }
    const std::string who = "machine '" + vm.display_name() + "' is " + server::to_word(vm.state());
    expected.insert(vm.uid());
    if (!host.disk.guests.contains(vm.uid())) return who + " and has no disks";
    const auto it = defined.find(vm.uid());
    if (it == defined.end()) return who + " and is not defined";
    const bool runs = it->second.state == agent::GuestState::Running;
    const bool off = it->second.state == agent::GuestState::Stopped;
    const bool paused = it->second.state == agent::GuestState::Paused;
    const bool kept = host.disk.guests.at(vm.uid()).state_kept;
    const bool agrees = (vm.state() == Vm::STATE_RUNNING && runs) ||
                        (vm.state() == Vm::STATE_STOPPED && off && !kept) ||
                        (vm.state() == Vm::STATE_PAUSED && paused) ||
                        (vm.state() == Vm::STATE_SAVED && off && kept);
    if (!agrees) return who + ", its hypervisor says otherwise";
    if (it->second.cpus != vm.spec().cpus() && vm.status().pending_restart().empty() && off)
      return who + " with other cpus than its hypervisor";
    defined.erase(it);
  }
  for (const auto& [uid, guest] : defined)
    if (guest.managed) return "guest " + uid + " is left over on " + host.name;
  for (const auto& [uid, guest] : host.disk.guests)
    if (!expected.contains(uid)) return "disks of " + uid + " are left over on " + host.name;
  std::set<std::string> images_expected;
  for (const auto& image : images()) {
    images_expected.insert(image.uid());
    if (abandoned_targets.contains(image.name())) continue;
    if (image.state() != v1::Image::STATE_READY)
      return "image " + image.display_name() + " is not ready";
  }
  for (const auto& [uid, image] : host.disk.images)
    if (!images_expected.contains(uid)) return "image " + uid + " is left over on " + host.name;
  return {};
}

std::string Cluster::broken_promise() {
  if (const auto held = locks(); !held.empty()) return "lock left over: " + held.front();
  for (const auto& uid : acknowledged) {
    const auto now = job(uid);
    if (!now.ok()) return "acknowledged job " + uid + " is lost";
    if (!is_final(now.value()))
      return "job " + uid + " has not ended: " + v1::Job::State_Name(now.value().state());
  }
  std::set<std::string> everywhere;
  for (auto& host : hosts) {
    agent::SimDriver driver(host->hypervisor);
    const auto guests = driver.list().value();
    for (const auto& guest : guests)
      if (!everywhere.insert(guest.uid).second) return "guest " + guest.uid + " is on two hosts";
    if (auto broken = broken_host(*host); !broken.empty()) return broken;
    if (!host->outbox_disk.results.empty())
      return "results are left in the outbox of " + host->name;
  }
  return broken_feed();
}

}  // namespace reeve::test
