#include "server/agents/sightings.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/text.h"
#include "base/uuid.h"
#include "db/repo/feed_repo.h"
#include "db/repo/host_repo.h"
#include "db/repo/hypervisor_repo.h"
#include "db/repo/image_repo.h"
#include "db/repo/lock_repo.h"
#include "db/repo/vm_repo.h"
#include "server/app/inventory.h"
#include "server/app/views.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

using Vm = v1::VirtualMachine;
constexpr std::size_t kLongestName = 200;
constexpr int kMostAtOnce = 20'000;
// Of what guests say.
constexpr std::size_t kLongestText = 256;
constexpr std::size_t kLongestAddress = 64;
constexpr int kMostAddresses = 16;
constexpr int kMostNics = 16;
constexpr int kMostOfNic = 8;

constexpr std::string_view kAvailable = "available";
constexpr std::string_view kUnavailable = "unavailable";

std::string actor_of(const std::string& host_uid) {
  return host_name(host_uid);
}

/// Text from an agent, as it may be stored: one line of UTF-8, bounded.
std::string tame(std::string_view text, std::size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return is_utf8(out) ? out : std::string("(not UTF-8)");
}

void take_addresses(const google::protobuf::RepeatedPtrField<std::string>& told, int most,
                    google::protobuf::RepeatedPtrField<std::string>& out) {
  out.Clear();
  for (const auto& address : told)
    if (out.size() < most) *out.Add() = tame(address, kLongestAddress);
}

/// What a guest says reaches people's terminals: bounded once more, whatever its agent let pass.
void take_guest(const agent::v1::GuestSeen& seen, v1::VmStatus& status) {
  status.clear_guest();
  if (!seen.has_guest()) return;
  const auto& told = seen.guest();
  auto& guest = *status.mutable_guest();
  guest.set_host_name(tame(told.host_name(), kLongestText));
  guest.set_os_name(tame(told.os_name(), kLongestText));
  guest.set_os_id(tame(told.os_id(), kLongestText));
  guest.set_os_version(tame(told.os_version(), kLongestText));
  guest.set_kernel(tame(told.kernel(), kLongestText));
  for (const auto& nic : told.nics()) {
    if (guest.nics_size() >= kMostNics) break;
    auto& card = *guest.add_nics();
    card.set_name(tame(nic.name(), kLongestText));
    card.set_mac(tame(nic.mac(), kLongestText));
    take_addresses(nic.addresses(), kMostOfNic, *card.mutable_addresses());
  }
}

class Sighting {
 public:
  Sighting(db::Transaction& tx, const std::string& host_uid, WallTime now, Random& random,
           SightingOutcome& outcome)
      : tx_(tx), host_uid_(host_uid), now_(now), random_(random), outcome_(outcome) {}

  Status apply(const agent::v1::Observation& seen);

 private:
  Status apply_host(const v1::HostStatus& seen);
  Status load_hypervisors();
  Status apply_hypervisor(const v1::Hypervisor& seen);
  Status drop_hypervisors(const agent::v1::Observation& seen);
  Status hypervisor_went(const std::string& hypervisor_uid, const std::string& why);
  Status apply_guest(const agent::v1::GuestSeen& seen);
  Status apply_known(db::Vm row, const agent::v1::GuestSeen& seen);
  Status discover(const agent::v1::GuestSeen& seen);
  Status apply_gone(db::Vm row);
  Status apply_missing(const agent::v1::Observation& seen);
  Status apply_images(const agent::v1::Observation& seen);
  Status set_state(db::Vm row, Vm::State state, const std::string& why);
  Result<bool> is_held(const std::string& resource, const std::string& uid);
  Result<bool> was_deleted_here(const std::string& uid);
  Result<std::string> free_name(const std::string& wanted, const std::string& uid);
  bool is_available(std::string_view hypervisor_uid) const;
  db::Change change() const { return {.actor = actor_of(host_uid_), .time = now_}; }

  db::Transaction& tx_;
  const std::string& host_uid_;
  const WallTime now_;
  Random& random_;
  SightingOutcome& outcome_;
  std::map<std::string, db::Hypervisor> hypervisors_{};  ///< by id
};

Status Sighting::apply(const agent::v1::Observation& seen) {
  if (seen.has_host()) TRY(apply_host(seen.host()));
  TRY(load_hypervisors());
  for (const auto& hypervisor : seen.hypervisors()) TRY(apply_hypervisor(hypervisor));
  if (seen.full()) TRY(drop_hypervisors(seen));
  int count = 0;
  for (const auto& guest : seen.guests())
    if (++count <= kMostAtOnce) TRY(apply_guest(guest));
  db::VmReader vms(tx_);
  for (const auto& uid : seen.gone_guests()) {
    auto row = vms.get(uid);
    if (row.ok() && row.value().host_uid == host_uid_) TRY(apply_gone(std::move(row).value()));
  }
  if (!seen.full()) return {};
  TRY(apply_missing(seen));
  return apply_images(seen);
}

Status Sighting::apply_host(const v1::HostStatus& seen) {
  db::HostRepo repo(tx_);
  auto row = TRY(repo.get(host_uid_));
  v1::HostStatus kept = seen;  // samples and times live in memory alone
  kept.clear_observe_time();
  kept.clear_last_seen_time();
  kept.clear_use();
  auto before = TRY(document<v1::HostStatus>(row.status, "host " + host_uid_));
  // The first free space seen is kept, so that a list has a figure before the first sample.
  if (before.store_total_bytes() == kept.store_total_bytes())
    kept.set_store_free_bytes(before.store_free_bytes());
  auto bytes = kept.SerializeAsString();
  if (bytes == row.status) return {};
  row.status = std::move(bytes);
  row.status_observed_at = now_;
  TRY(repo.update_status(row, change()));
  return {};
}

Status Sighting::load_hypervisors() {
  auto rows = TRY(db::HypervisorReader(tx_).list({db::Column::HostUid, host_uid_}, {.limit = 500}));
  for (auto& row : rows) hypervisors_[row.name] = std::move(row);
  return {};
}

Status Sighting::apply_hypervisor(const v1::Hypervisor& seen) {
  constexpr std::size_t kMostHypervisors = 64;
  if (seen.id().empty() || seen.id().size() > 64 || !is_utf8(seen.id())) return {};
  v1::Hypervisor kept = seen;
  kept.clear_name();
  const std::string bytes = kept.SerializeAsString();
  const std::string state(seen.available() ? kAvailable : kUnavailable);
  db::HypervisorRepo repo(tx_);
  const auto known = hypervisors_.find(seen.id());
  if (known == hypervisors_.end()) {
    if (hypervisors_.size() >= kMostHypervisors) return {};
    db::Hypervisor row;
    row.uid = new_uuid(random_);
    row.name = seen.id();
    row.host_uid = host_uid_;
    row.kind = to_word(seen.kind());
    row.state = state;
    row.status = bytes;
    row.status_observed_at = now_;
    hypervisors_[seen.id()] = TRY(repo.insert(std::move(row), change()));
    return {};
  }
  auto& row = known->second;
  if (row.status == bytes && row.state == state) return {};
  const bool went = row.state == kAvailable && state == kUnavailable;
  const bool came = row.state == kUnavailable && state == kAvailable;
  row.state = state;
  row.status = bytes;
  row.status_observed_at = now_;
  row = TRY(repo.update_status(row, change()));
  outcome_.look_again |= came;
  if (went) return hypervisor_went(row.uid, "its hypervisor does not answer");
  return {};
}

Status Sighting::drop_hypervisors(const agent::v1::Observation& seen) {
  std::set<std::string> listed;
  for (const auto& hypervisor : seen.hypervisors()) listed.insert(hypervisor.id());
  db::HypervisorRepo repo(tx_);
  for (auto& [id, row] : hypervisors_) {
    if (listed.contains(id) || row.state == kUnavailable) continue;
    auto shown = TRY(document<v1::Hypervisor>(row.status, "hypervisor " + row.uid));
    shown.set_available(false);
    shown.set_description("the agent no longer reports it; look at its configuration");
    row.state = std::string(kUnavailable);
    row.status = shown.SerializeAsString();
    row = TRY(repo.update_status(row, change()));
    TRY(hypervisor_went(row.uid, "the agent no longer reports its hypervisor"));
  }
  return {};
}

Status Sighting::hypervisor_went(const std::string& hypervisor_uid, const std::string& why) {
  db::Filter filter(db::Column::HostUid, host_uid_);
  filter.also(db::Column::HypervisorUid, hypervisor_uid);
  auto rows = TRY(db::VmReader(tx_).list(filter, db::ObjectOrder::Name, {.limit = kMostAtOnce}));
  for (auto& row : rows) TRY(set_state(std::move(row), Vm::STATE_UNKNOWN, why));
  return {};
}

bool Sighting::is_available(std::string_view hypervisor_uid) const {
  return std::ranges::any_of(hypervisors_, [&](const auto& entry) {
    return entry.second.uid == hypervisor_uid && entry.second.state == kAvailable;
  });
}

Result<bool> Sighting::is_held(const std::string& resource, const std::string& uid) {
  const auto lock = TRY(db::LockReader(tx_).find(resource));
  if (lock) outcome_.held_back.push_back(uid);
  return lock.has_value();
}

Status Sighting::set_state(db::Vm row, Vm::State state, const std::string& why) {
  if (TRY(is_held(vm_name(row.uid), row.uid))) return {};
  auto document_before = TRY(document<Vm>(row.status, "machine " + row.uid));
  if (row.state == to_word(state) && document_before.state_reason() == why) return {};
  document_before.set_state_reason(why);
  row.state = to_word(state);
  row.status = vm_status_document(document_before);
  TRY(db::VmRepo(tx_).update_status(row, change()));
  return {};
}

Status Sighting::apply_guest(const agent::v1::GuestSeen& seen) {
  if (!is_uuid(seen.uid()) || !hypervisors_.contains(seen.hypervisor())) return {};
  auto row = db::VmReader(tx_).get(seen.uid());
  if (!row.ok() && row.error().code() != Code::NotFound) return row.error();
  if (!row.ok()) return discover(seen);
  if (row.value().host_uid != host_uid_) {
    outcome_.strangers.push_back(seen.uid());  // the same machine in two places
    return {};
  }
  return apply_known(std::move(row).value(), seen);
}

Status Sighting::apply_known(db::Vm row, const agent::v1::GuestSeen& seen) {
  if (TRY(is_held(vm_name(row.uid), row.uid))) return {};
  auto doc = TRY(document<Vm>(row.status, "machine " + row.uid));
  const bool available = is_available(row.hypervisor_uid);
  auto state = available ? seen.state() : Vm::STATE_UNKNOWN;
  if (!Vm::State_IsValid(state) || state == Vm::STATE_UNSPECIFIED) state = Vm::STATE_UNKNOWN;
  doc.set_state_reason(available ? tame(seen.state_reason(), 1024)
                                 : "its hypervisor does not answer");
  auto& status = *doc.mutable_status();
  if (available) {
    status.clear_start_time();
    if (seen.has_start_time()) *status.mutable_start_time() = seen.start_time();
    take_addresses(seen.addresses(), kMostAddresses, *status.mutable_addresses());
    *status.mutable_pending_restart() = seen.pending_restart();
    take_guest(seen, status);
  }
  const std::string bytes = vm_status_document(doc);
  db::VmRepo repo(tx_);
  if (row.origin == to_word(Vm::ORIGIN_DISCOVERED) &&
      (row.cpus != seen.cpus() || row.memory_mib != seen.memory_mib())) {
    auto spec = TRY(document<Vm>(row.spec, "machine " + row.uid));
    spec.mutable_spec()->set_cpus(seen.cpus());
    spec.mutable_spec()->set_memory_mib(seen.memory_mib());
    row.cpus = seen.cpus();
    row.memory_mib = seen.memory_mib();
    row.spec = vm_spec_document(spec);
    row.etag.clear();
    row = TRY(repo.update(std::move(row), change()));
  }
  if (row.state == to_word(state) && row.status == bytes) return {};
  row.state = to_word(state);
  row.status = bytes;
  row.status_observed_at = now_;
  TRY(repo.update_status(row, change()));
  return {};
}

Result<bool> Sighting::was_deleted_here(const std::string& uid) {
  const auto history = TRY(db::FeedReader(tx_).history(uid, 0, 1));
  return !history.empty() && history.front().deleted && !history.front().job_uid.empty();
}

Result<std::string> Sighting::free_name(const std::string& wanted, const std::string& uid) {
  const std::string name = wanted.empty() ? "unnamed" : tame(wanted, kLongestName);
  const auto other = db::VmReader(tx_).get_by_name(name);
  const auto lock = TRY(db::LockReader(tx_).find("vm-names/" + name));
  if (!other.ok() && other.error().code() != Code::NotFound) return other.error();
  if (!other.ok() && !lock) return name;
  return name + "-" + uid;
}

Status Sighting::discover(const agent::v1::GuestSeen& seen) {
  if (seen.managed()) {
    outcome_.strangers.push_back(seen.uid());
    if (TRY(was_deleted_here(seen.uid()))) return {};
  }
  const auto& hypervisor = hypervisors_[seen.hypervisor()];
  Vm vm;
  vm.mutable_spec()->set_host(host_name(host_uid_));
  vm.mutable_spec()->set_hypervisor(seen.hypervisor());
  vm.mutable_spec()->set_cpus(seen.cpus());
  vm.mutable_spec()->set_memory_mib(seen.memory_mib());
  vm.mutable_status()->set_host(host_name(host_uid_));
  vm.mutable_status()->set_hypervisor(host_name(host_uid_) + "/hypervisors/" + seen.hypervisor());
  if (seen.managed())
    vm.set_state_reason("carries Reeve's mark, but this server's inventory did not have it");
  db::Vm row;
  row.uid = seen.uid();
  row.name = TRY(free_name(seen.display_name(), seen.uid()));
  row.host_uid = host_uid_;
  row.hypervisor_uid = hypervisor.uid;
  row.state = to_word(Vm::STATE_UNKNOWN);
  row.cpus = seen.cpus();
  row.memory_mib = seen.memory_mib();
  row.origin = to_word(Vm::ORIGIN_DISCOVERED);
  row.spec = vm_spec_document(vm);
  row.status = vm_status_document(vm);
  row = TRY(db::VmRepo(tx_).insert(std::move(row), change()));
  return apply_known(std::move(row), seen);
}

Status Sighting::apply_gone(db::Vm row) {
  if (!is_available(row.hypervisor_uid))
    return set_state(std::move(row), Vm::STATE_UNKNOWN, "its hypervisor does not answer");
  if (row.origin != to_word(Vm::ORIGIN_DISCOVERED))
    return set_state(std::move(row), Vm::STATE_MISSING, "its host does not have it");
  if (TRY(is_held(vm_name(row.uid), row.uid))) return {};
  return db::VmRepo(tx_).remove(row.uid, "", change());
}

Status Sighting::apply_missing(const agent::v1::Observation& seen) {
  std::set<std::string> listed;
  for (const auto& guest : seen.guests()) listed.insert(guest.uid());
  Inventory inventory(tx_, now_);
  for (auto& row : TRY(inventory.vms_on(host_uid_)))
    if (!listed.contains(row.uid)) TRY(apply_gone(std::move(row)));
  return {};
}

Status Sighting::apply_images(const agent::v1::Observation& seen) {
  if (seen.images_unknown()) return {};
  const std::set<std::string> listed(seen.images().begin(), seen.images().end());
  const std::string ready = to_word(v1::Image::STATE_READY);
  const std::string incomplete = to_word(v1::Image::STATE_INCOMPLETE);
  db::ImageRepo repo(tx_);
  auto rows = TRY(
      repo.list({db::Column::HostUid, host_uid_}, db::ObjectOrder::Name, {.limit = kMostAtOnce}));
  for (auto& row : rows) {
    const bool is_there = listed.contains(row.uid);
    const bool lost = row.state == ready && !is_there;
    // One whose import was given up has no facts to be ready with, even if its file came later.
    const bool is_back = row.state == incomplete && is_there && row.size_bytes > 0;
    if (!(lost || is_back) || TRY(is_held(image_name(row.uid), ""))) continue;
    row.state = lost ? incomplete : ready;
    TRY(repo.update_status(row, change()));
  }
  return {};
}

}  // namespace

Status apply_observation(db::Transaction& tx, const std::string& host_uid,
                         const agent::v1::Observation& seen, WallTime now, Random& random,
                         SightingOutcome& outcome) {
  outcome = {};
  return Sighting(tx, host_uid, now, random, outcome).apply(seen);
}

Status mark_connected(db::Transaction& tx, const std::string& host_uid,
                      const agent::v1::Hello& hello, const std::vector<std::string>& features,
                      std::int64_t epoch, WallTime now) {
  db::HostRepo repo(tx);
  auto row = TRY(repo.get(host_uid));
  auto status = TRY(document<v1::HostStatus>(row.status, "host " + host_uid));
  status.set_agent_version(tame(hello.version(), 100));
  status.set_boot_id(tame(hello.boot_id(), 100));
  row.status = status.SerializeAsString();
  row.state = to_word(v1::Host::STATE_CONNECTED);
  TRY(repo.update_status(row, {.actor = actor_of(host_uid), .time = now}));
  TRY(repo.update_features(host_uid, join(features, " ")));
  return repo.update_link(host_uid, epoch, 0, now);
}

Status mark_disconnected(db::Transaction& tx, const std::string& host_uid, std::int64_t epoch,
                         WallTime last_seen, WallTime now) {
  db::HostRepo repo(tx);
  auto row = TRY(repo.get(host_uid));
  TRY(repo.update_link(host_uid, epoch, 0, last_seen));
  row.state = to_word(v1::Host::STATE_DISCONNECTED);
  TRY(repo.update_status(row, {.actor = actor_of(host_uid), .time = now}));
  return {};
}

Status mark_all_disconnected(db::Transaction& tx, WallTime now) {
  db::HostRepo repo(tx);
  auto rows = TRY(repo.list({db::Column::State, to_word(v1::Host::STATE_CONNECTED)},
                            db::ObjectOrder::Name, {.limit = 1'000'000}));
  for (auto& row : rows) {
    row.state = to_word(v1::Host::STATE_DISCONNECTED);
    TRY(repo.update_status(row, {.actor = "server", .time = now}));
  }
  return {};
}

}  // namespace reeve::server
