#include "agent/driver/libvirt/probe.h"

#include <algorithm>
#include <chrono>

#include <libvirt/virterror.h>

#include "agent/driver/libvirt/error.h"

namespace reeve::agent::libvirt {

namespace {

using std::chrono::steady_clock;

std::string version_text(unsigned long number) {
  return std::to_string(number / 1'000'000) + "." + std::to_string(number / 1'000 % 1'000) + "." +
         std::to_string(number % 1'000);
}

bool has_bulk_statistics(virConnectPtr connect) {
  virDomainStatsRecordPtr* records = nullptr;
  const int count = virConnectGetAllDomainStats(connect, VIR_DOMAIN_STATS_CPU_TOTAL, &records, 0);
  if (records != nullptr) virDomainStatsRecordListFree(records);
  return count >= 0;
}

/// Restoring a file that does not exist fails everywhere, in different words. Who cannot restore a
/// guest without running it at once is no use: its saved state could be used twice.
bool has_saved_state(virConnectPtr connect) {
  if (virDomainRestoreFlags(connect, "/nonexistent/reeve-probe", nullptr, VIR_DOMAIN_SAVE_PAUSED) ==
      0)
    return true;
  const int refusal = last_error_code();
  return refusal != VIR_ERR_NO_SUPPORT && refusal != VIR_ERR_INVALID_ARG;
}

}  // namespace

Result<Abilities> probe(virConnectPtr connect, const Subscription& subscription, bool kvm_usable) {
  const char* type = virConnectGetType(connect);
  if (type == nullptr) return last_error("asking what the hypervisor is");
  Abilities abilities{.type = type};
  abilities.has_events = subscription.has_lifecycle;
  if (abilities.type == "QEMU") abilities.domain_type = kvm_usable ? "kvm" : "qemu";
  if (abilities.type == "TEST" || abilities.type == "Test") abilities.domain_type = "test";
  const virDomainPtr domain =
      virDomainDefineXMLFlags(connect, "<reeve-probe/>", VIR_DOMAIN_DEFINE_VALIDATE);
  if (domain != nullptr) virDomainFree(domain);  // no driver makes a domain of that
  const int refusal = last_error_code();
  abilities.validates = refusal == VIR_ERR_XML_INVALID_SCHEMA || refusal == VIR_ERR_XML_ERROR;
  return abilities;
}

DriverFacts facts_of(virConnectPtr connect, const std::string& uri, const Abilities& abilities) {
  DriverFacts facts{.kind = "libvirt", .uri = uri, .available = true};
  unsigned long version = 0;
  facts.version = abilities.type;
  if (virConnectGetVersion(connect, &version) == 0) facts.version += " " + version_text(version);
  if (virConnectGetLibVersion(connect, &version) == 0)
    facts.version += ", libvirt " + version_text(version);

  auto& can = facts.capabilities;
  can = {"pause", "reboot", "shutdown"};
  const auto add_if = [&can](bool has, const char* name) {
    if (has) can.emplace_back(name);
  };
  const bool is_qemu = abilities.type == "QEMU";
  add_if(!abilities.domain_type.empty(), "define");
  add_if(abilities.has_events, "events");
  add_if(has_bulk_statistics(connect), "statistics");
  add_if(has_saved_state(connect), "saved-state");
  for (const char* name : {"bridge-network", "cloud-init", "console", "direct-kernel",
                           "guest-agent", "reset", "resource-limits", "user-network"})
    add_if(is_qemu, name);
  add_if(abilities.domain_type == "kvm", "kvm");
  std::sort(can.begin(), can.end());
  if (abilities.domain_type == "qemu")
    facts.warnings.emplace_back(
        "guests run in software emulation (TCG), many times slower: no usable KVM on this host");
  return facts;
}

bool examines_anew(virConnectPtr connect, const Abilities& abilities) {
  if (abilities.type != "QEMU") return false;
  steady_clock::duration took{};
  // The first examination of a fresh daemon may take its time; the second must come from its
  // memory.
  for (int i = 0; i < 2; ++i) {
    const auto begin = steady_clock::now();
    const Text capabilities(
        virConnectGetDomainCapabilities(connect, nullptr, "x86_64", "q35", nullptr, 0));
    if (!capabilities) return false;
    took = steady_clock::now() - begin;
  }
  return took > std::chrono::milliseconds(300);
}

std::string slow_define_warning() {
  return "libvirt examines QEMU anew for every definition, which takes tens of seconds: /dev/kvm "
         "is "
         "there but runs no guest. Remedy: hide /dev/kvm from libvirtd (its own mount namespace, "
         "or "
         "remove the device node) and restart it, or make KVM usable on this host";
}

}  // namespace reeve::agent::libvirt
