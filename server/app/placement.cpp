#include "server/app/placement.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "db/repo/vm_repo.h"
#include "server/app/validate.h"
#include "server/app/words.h"

namespace reeve::server {

namespace {

/// A few virtual processors more than the host has threads are slow, not wrong.
constexpr std::int32_t kCpusAnyHostTakes = 16;
/// More than the own core's machines have APIC ids for (hypervisor_core/vm/config.h).
constexpr std::int32_t kMostCpusOfCore = 254;
/// libvirt refuses more of QEMU without an IOMMU in extended interrupt mode.
constexpr std::int32_t kMostCpusOfQemu = 255;
constexpr std::string_view kNotAskedFor = "is not the one asked for";
constexpr std::string_view kLimits = "resource-limits";

struct Candidate {
  std::shared_ptr<const KnownHost> host{};
  const KnownHypervisor* hypervisor = nullptr;
  std::int64_t free_mib = 0;
  std::string lacks{};  ///< empty when it fits
};

std::string mib(std::int64_t value) {
  return std::to_string(value) + " MiB";
}

int preference(v1::HypervisorKind kind) {
  switch (kind) {
    case v1::HYPERVISOR_KIND_CORE: return 0;
    case v1::HYPERVISOR_KIND_LIBVIRT: return 1;
    default: return 2;
  }
}

bool can(const v1::Hypervisor& hypervisor, std::string_view capability) {
  const auto& all = hypervisor.capabilities();
  return std::ranges::find(all, capability) != all.end();
}

std::int32_t most_cpus(const v1::Hypervisor& hypervisor) {
  if (hypervisor.kind() == v1::HYPERVISOR_KIND_CORE) return kMostCpusOfCore;
  return hypervisor.uri().starts_with("qemu") ? kMostCpusOfQemu : kMaxCpus;
}

std::string cpus_in_one(const KnownHypervisor& hypervisor) {
  return "runs up to " + std::to_string(most_cpus(hypervisor.shown)) +
         " processors per machine on its hypervisor '" + hypervisor.row.name + "'";
}

bool suits(const v1::Hypervisor& hypervisor, const PlacementRequest& request) {
  if (request.cpus > most_cpus(hypervisor)) return false;
  if (request.limits && !can(hypervisor, kLimits)) return false;
  // What only the own core may lack.
  if (hypervisor.kind() != v1::HYPERVISOR_KIND_CORE) return true;
  return request.has_kernel && (!request.user_network || can(hypervisor, "user-network"));
}

/// The available hypervisor with the largest machines; null when there is none.
const KnownHypervisor* largest(const KnownHost& host) {
  const KnownHypervisor* found = nullptr;
  for (const auto& hypervisor : host.hypervisors)
    if (hypervisor.shown.available() &&
        (found == nullptr || most_cpus(hypervisor.shown) > most_cpus(found->shown)))
      found = &hypervisor;
  return found;
}

const KnownHypervisor* choose_hypervisor(const KnownHost& host, const PlacementRequest& request) {
  if (!request.hypervisor_id.empty()) {
    const auto* named = host.hypervisor(request.hypervisor_id);
    return named != nullptr && named->shown.available() ? named : nullptr;
  }
  const KnownHypervisor* best = nullptr;
  for (const auto& hypervisor : host.hypervisors) {
    if (!hypervisor.shown.available() || !suits(hypervisor.shown, request)) continue;
    if (best == nullptr || preference(hypervisor.shown.kind()) < preference(best->shown.kind()))
      best = &hypervisor;
  }
  return best;
}

std::string missing_bridge(const KnownHost& host, const std::vector<std::string>& bridges) {
  if (host.status.nics().empty()) return {};  // it did not say: let the agent decide
  for (const auto& bridge : bridges) {
    const bool found = std::ranges::any_of(host.status.nics(), [&](const auto& nic) {
      return nic.bridge() && nic.device() == bridge;
    });
    if (!found) return bridge;
  }
  return {};
}

std::string lack_of(const Candidate& candidate, const PlacementRequest& request) {
  const KnownHost& host = *candidate.host;
  if (!request.host_uid.empty() && host.row.uid != request.host_uid)
    return std::string(kNotAskedFor);
  if (!host.connected) return "is not connected";
  if (!request.image_host_uid.empty() && host.row.uid != request.image_host_uid)
    return "does not have image '" + request.image_display_name + "'";
  const auto* decides = candidate.hypervisor != nullptr || !request.hypervisor_id.empty()
                            ? candidate.hypervisor
                            : largest(host);
  if (decides != nullptr && request.cpus > most_cpus(decides->shown))
    return cpus_in_one(*decides) + ", " + std::to_string(request.cpus) + " are needed";
  if (candidate.hypervisor == nullptr)
    return request.hypervisor_id.empty()
               ? "has no available hypervisor that can run it"
               : "has no available hypervisor '" + request.hypervisor_id + "'";
  if (request.limits && !can(candidate.hypervisor->shown, kLimits))
    return "cannot limit machines on its hypervisor '" + candidate.hypervisor->row.name + "'";
  if (const auto bridge = missing_bridge(host, request.bridges); !bridge.empty())
    return "has no bridge '" + bridge + "'";
  const auto threads = std::max(host.status.cpu().threads(), kCpusAnyHostTakes);
  if (request.cpus > threads)
    return "offers " + std::to_string(threads) + " processors, " + std::to_string(request.cpus) +
           " are needed";
  if (candidate.free_mib < request.memory_mib)
    return "has " + mib(std::max<std::int64_t>(0, candidate.free_mib)) + " free, " +
           mib(request.memory_mib) +
           " are needed: " + mib(request.memory_mib - candidate.free_mib) + " missing";
  return {};
}

Error no_host_fits(const std::vector<Candidate>& candidates, const PlacementRequest& request) {
  std::vector<std::string> lacks;
  for (const auto& candidate : candidates)
    if (candidate.lacks != kNotAskedFor)
      lacks.push_back("'" + candidate.host->row.name + "' " + candidate.lacks);
  const std::string why = lacks.empty() ? "no host is enrolled" : join(lacks, "; ");
  auto error = Error(Code::ResourceExhausted, "NO_HOST_FITS", "no host fits: " + why)
                   .with("needed_mib", std::to_string(request.memory_mib))
                   .with("needed_cpus", std::to_string(request.cpus))
                   .remedy("ask for less, free a host, or enrol another one");
  for (const auto& candidate : candidates)
    error = std::move(error).with("free_mib:" + host_name(candidate.host->row.uid),
                                  std::to_string(candidate.free_mib));
  return error;
}

Status require_named(Inventory& inventory, const PlacementRequest& request) {
  if (request.host_uid.empty()) return {};
  const auto host = TRY(inventory.host(request.host_uid));
  if (!host->connected)
    return Error(Code::Unavailable, "HOST_UNREACHABLE",
                 "host '" + host->row.name + "' is not connected")
        .resource(host_name(request.host_uid))
        .remedy("start reeve-agent on the host, or check the network between it and the server");
  if (!request.hypervisor_id.empty() && host->hypervisor(request.hypervisor_id) == nullptr)
    return Error(Code::NotFound, "HYPERVISOR_NOT_FOUND",
                 "host '" + host->row.name + "' has no hypervisor '" + request.hypervisor_id + "'")
        .resource(host_name(request.host_uid));
  return {};
}

v1::Placement explain(const Candidate& chosen, const std::vector<Candidate>& others,
                      const PlacementRequest& request) {
  constexpr int kMostReasons = 20;
  v1::Placement shown;
  shown.set_host(host_name(chosen.host->row.uid));
  shown.set_hypervisor(chosen.hypervisor->row.name);
  const std::string why = request.host_uid.empty() ? "has the most free memory" : "was asked for";
  shown.add_reasons("'" + chosen.host->row.name + "' " + why + ": " + mib(chosen.free_mib) +
                    " free, " + mib(request.memory_mib) + " needed");
  for (const auto& other : others) {
    if (other.host == chosen.host || shown.reasons_size() >= kMostReasons) continue;
    shown.add_reasons(
        "'" + other.host->row.name + "' " +
        (other.lacks.empty() ? "has less free memory: " + mib(other.free_mib) : other.lacks));
  }
  return shown;
}

}  // namespace

Result<Placed> place(Inventory& inventory, const PlacementRequest& request) {
  TRY(require_named(inventory, request));
  std::map<std::string, std::int64_t> used;
  for (const auto& load : TRY(db::VmReader(inventory.tx()).host_loads()))
    used[load.host_uid] = load.memory_mib;
  std::vector<Candidate> candidates;
  const Candidate* best = nullptr;
  const auto hosts = TRY(inventory.hosts());
  candidates.reserve(hosts.size());
  for (const auto& host : hosts) {
    auto& candidate = candidates.emplace_back(Candidate{.host = host});
    candidate.hypervisor = choose_hypervisor(*host, request);
    candidate.free_mib = host->status.memory_mib() - used[host->row.uid];
    candidate.lacks = lack_of(candidate, request);
    if (!candidate.lacks.empty()) continue;
    if (best == nullptr || candidate.free_mib > best->free_mib) best = &candidate;
  }
  if (best == nullptr) return no_host_fits(candidates, request);
  return Placed{best->host, best->hypervisor, explain(*best, candidates, request)};
}

Status require_possible(const KnownHost& host, const KnownHypervisor* hypervisor, std::int32_t cpus,
                        std::int64_t memory_mib) {
  if (hypervisor != nullptr && cpus > most_cpus(hypervisor->shown))
    return Error(Code::ResourceExhausted, "NO_HOST_FITS",
                 "host '" + host.row.name + "' " + cpus_in_one(*hypervisor) + "; " +
                     std::to_string(cpus) + " are asked for")
        .resource(host_name(host.row.uid))
        .with("needed_cpus", std::to_string(cpus))
        .remedy("ask for less");
  const auto threads = std::max(host.status.cpu().threads(), kCpusAnyHostTakes);
  const bool fits = memory_mib <= host.status.memory_mib() && cpus <= threads;
  if (fits) return {};
  return Error(Code::ResourceExhausted, "NO_HOST_FITS",
               "host '" + host.row.name + "' offers " + mib(host.status.memory_mib()) + " and " +
                   std::to_string(threads) + " processors; " + mib(memory_mib) + " and " +
                   std::to_string(cpus) + " are asked for")
      .resource(host_name(host.row.uid))
      .with("needed_mib", std::to_string(memory_mib))
      .with("needed_cpus", std::to_string(cpus))
      .remedy("ask for less");
}

Status require_limits(const KnownHost& host, const KnownHypervisor* hypervisor) {
  if (hypervisor != nullptr && can(hypervisor->shown, kLimits)) return {};
  return Error(Code::FailedPrecondition, "NOT_SUPPORTED",
               "the hypervisor of the machine on host '" + host.row.name +
                   "' does not limit what machines take")
      .resource(host_name(host.row.uid))
      .with("capability", std::string(kLimits))
      .remedy(
          "leave the limits at their defaults (0), or see the host's warnings for what it lacks");
}

Status require_room_to_start(Inventory& inventory, const db::Vm& row) {
  const auto host = TRY(inventory.host(row.host_uid));
  std::int64_t used = 0;
  for (const auto& other : TRY(inventory.vms_on(row.host_uid))) {
    const auto state = vm_state_of(other.state);
    const bool holds_memory =
        state == v1::VirtualMachine::STATE_RUNNING || state == v1::VirtualMachine::STATE_PAUSED;
    if (other.uid != row.uid && holds_memory) used += other.memory_mib;
  }
  const std::int64_t free = host->status.memory_mib() - used;
  if (free >= row.memory_mib) return {};
  return Error(Code::ResourceExhausted, "NO_HOST_FITS",
               "host '" + host->row.name + "' has " + mib(std::max<std::int64_t>(0, free)) +
                   " left by its running machines, '" + row.name + "' needs " +
                   mib(row.memory_mib) + ": " + mib(row.memory_mib - free) + " missing")
      .resource(vm_name(row.uid))
      .with("needed_mib", std::to_string(row.memory_mib))
      .with("free_mib", std::to_string(free))
      .remedy("stop another machine on that host, or give this one less memory");
}

}  // namespace reeve::server
