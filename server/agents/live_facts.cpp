#include "server/agents/live_facts.h"

#include "server/app/views.h"

namespace reeve::server {

void LiveFacts::heard(const std::string& host_uid, WallTime now) {
  Lock lock(mutex_);
  hosts_[host_uid].heard = now;
}

void LiveFacts::sampled(const std::string& host_uid, const agent::v1::Metrics& metrics,
                        WallTime now) {
  constexpr int kMostGuests = 20'000;  // an agent does not choose how much we remember
  Lock lock(mutex_);
  auto& host = hosts_[host_uid];
  host.sampled = now;
  host.use = metrics.host();
  host.store_free_bytes = metrics.store_free_bytes();
  host.has_sample = true;
  host.vms.clear();
  for (const auto& guest : metrics.guests()) {
    if (host.vms.size() >= kMostGuests) break;
    host.vms[guest.uid()] = guest;
  }
}

void LiveFacts::lost(const std::string& host_uid) {
  Lock lock(mutex_);
  auto& host = hosts_[host_uid];
  host.has_sample = false;
  host.vms.clear();
}

void LiveFacts::fill(v1::Host& host) const {
  Lock lock(mutex_);
  const auto it = hosts_.find(host.uid());
  if (it == hosts_.end()) return;
  auto& status = *host.mutable_status();
  *status.mutable_last_seen_time() = to_proto(it->second.heard);
  if (!it->second.has_sample) return;
  *status.mutable_use() = it->second.use;
  *status.mutable_observe_time() = to_proto(it->second.sampled);
  status.set_store_free_bytes(it->second.store_free_bytes);
}

void LiveFacts::fill(v1::VirtualMachine& vm) const {
  const auto& name = vm.status().host();
  const std::string host_uid = name.substr(name.find('/') + 1);
  Lock lock(mutex_);
  const auto it = hosts_.find(host_uid);
  if (it == hosts_.end()) return;
  const auto use = it->second.vms.find(vm.uid());
  if (use == it->second.vms.end()) return;
  *vm.mutable_status()->mutable_use() = use->second.use();
  if (vm.status().has_guest() && use->second.has_guest_answer_time())
    *vm.mutable_status()->mutable_guest()->mutable_observe_time() = use->second.guest_answer_time();
  *vm.mutable_status()->mutable_observe_time() = to_proto(it->second.sampled);
}

}  // namespace reeve::server
