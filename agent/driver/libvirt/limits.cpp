#include "agent/driver/libvirt/limits.h"

#include <algorithm>
#include <cstdlib>

#include "agent/driver/libvirt/domain_facts.h"
#include "agent/driver/libvirt/domain_xml.h"
#include "agent/driver/libvirt/error.h"
#include "base/file.h"

namespace reeve::agent::libvirt {
namespace {

constexpr const char* kWeight = "cpu_weight";
constexpr const char* kCpu = "cpu_limit_percent";
constexpr const char* kMemory = "memory_limit_mib";
constexpr std::int64_t kPeriodUs = 100'000;
constexpr std::int64_t kUsualWeight = 100;
constexpr std::int64_t kKibPerMib = 1024;

/// A list that libvirt allocates.
struct Parameters {
  Parameters() = default;
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;
  ~Parameters() { virTypedParamsFree(list, count); }
  void add(const char* name, unsigned long long value) {
    virTypedParamsAddULLong(&list, &count, &room, name, value);
  }
  void add_signed(const char* name, long long value) {
    virTypedParamsAddLLong(&list, &count, &room, name, value);
  }
  virTypedParameterPtr list = nullptr;
  int count = 0, room = 0;
};

std::int64_t shares_of(std::int64_t weight) {
  constexpr std::int64_t kUsualShares = 1024;
  if (shares_here() == Shares::Version2) return weight;
  return std::max<std::int64_t>(2, weight * kUsualShares / kUsualWeight);
}

Error unavailable(std::string_view attempt) {
  return Error(Code::FailedPrecondition, "LIMITS_UNAVAILABLE", last_error(attempt).message())
      .remedy("see 'cgroup_controllers' in qemu.conf, and whether control groups are mounted");
}

}  // namespace

Shares shares_here() {
  const auto controllers = read_file("/sys/fs/cgroup/cgroup.controllers", 4096);
  return controllers.ok() && controllers.value().find("cpu") != std::string::npos
             ? Shares::Version2
             : Shares::Version1;
}

std::set<std::string> limit_kinds(const GuestLimits& limits) {
  std::set<std::string> kinds;
  if (limits.cpu_weight != 0) kinds.insert(kWeight);
  if (limits.cpu_limit_percent != 0) kinds.insert(kCpu);
  if (limits.memory_limit_mib != 0) kinds.insert(kMemory);
  return kinds;
}

std::set<std::string> owned_limits(pugi::xml_node domain) {
  std::set<std::string> kinds;
  for (const auto& [kind, id] : owned_parts(domain))
    if (kind == "limit") kinds.insert(id);
  return kinds;
}

void patch_limits(pugi::xml_node domain, const GuestLimits& limits,
                  const std::set<std::string>& owned) {
  if (limits.cpu_weight != 0)
    set_text(child_of(domain, "cputune"), "shares", std::to_string(shares_of(limits.cpu_weight)));
  else if (owned.contains(kWeight))
    domain.child("cputune").remove_child("shares");
  if (limits.cpu_limit_percent != 0) {
    auto tune = child_of(domain, "cputune");
    set_text(tune, "global_period", std::to_string(kPeriodUs));
    set_text(tune, "global_quota", std::to_string(limits.cpu_limit_percent * kPeriodUs / 100));
  } else if (owned.contains(kCpu)) {
    domain.child("cputune").remove_child("global_period");
    domain.child("cputune").remove_child("global_quota");
  }
  if (limits.memory_limit_mib != 0) {
    auto tune = child_of(domain, "memtune");
    set_text(tune, "hard_limit", std::to_string(limits.memory_limit_mib * kKibPerMib));
    set_attribute(tune.child("hard_limit"), "unit", "KiB");
  } else if (owned.contains(kMemory)) {
    domain.child("memtune").remove_child("hard_limit");
  }
  for (const char* name : {"cputune", "memtune"})
    if (const auto tune = domain.child(name); tune && !tune.first_child() && !owned.empty())
      domain.remove_child(tune);
}

Status apply_limits(virDomainPtr domain, std::int64_t memory_mib, const GuestLimits& limits,
                    const std::set<std::string>& owned) {
  Parameters scheduler;
  if (limits.cpu_weight != 0 || owned.contains(kWeight))
    scheduler.add(VIR_DOMAIN_SCHEDULER_CPU_SHARES,
                  static_cast<unsigned long long>(
                      shares_of(limits.cpu_weight != 0 ? limits.cpu_weight : kUsualWeight)));
  if (limits.cpu_limit_percent != 0 || owned.contains(kCpu)) {
    scheduler.add(VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, kPeriodUs);
    scheduler.add_signed(
        VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA,
        limits.cpu_limit_percent == 0 ? -1 : limits.cpu_limit_percent * kPeriodUs / 100);
  }
  if (scheduler.count > 0 &&
      virDomainSetSchedulerParametersFlags(domain, scheduler.list, scheduler.count,
                                           VIR_DOMAIN_AFFECT_LIVE) < 0)
    return unavailable("limiting the guest's processors");
  Parameters memory;
  if (limits.memory_limit_mib != 0 || owned.contains(kMemory))
    memory.add(
        VIR_DOMAIN_MEMORY_HARD_LIMIT,
        limits.memory_limit_mib == 0
            ? static_cast<unsigned long long>(VIR_DOMAIN_MEMORY_PARAM_UNLIMITED)
            : static_cast<unsigned long long>(
                  std::max(limits.memory_limit_mib, memory_mib + kLeastBesideMib) * kKibPerMib));
  if (memory.count > 0 &&
      virDomainSetMemoryParameters(domain, memory.list, memory.count, VIR_DOMAIN_AFFECT_LIVE) < 0)
    return unavailable("limiting the guest's memory");
  return {};
}

bool has_limits(virDomainPtr domain) {
  const Text xml(virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE));
  if (!xml) return false;
  const auto document = parse_domain(xml.get());
  return document.ok() && !owned_limits(document.value().child("domain")).empty();
}

bool can_limit(virDomainPtr domain) {
  int count = 0;
  char* const type = virDomainGetSchedulerType(domain, &count);
  std::free(type);  // NOLINT: libvirt allocates with malloc
  return type != nullptr && count > 0;
}

}  // namespace reeve::agent::libvirt
