#include "agent/driver/libvirt/verbs.h"

#include <string>

#include "agent/driver/libvirt/error.h"
#include "base/uuid.h"

namespace reeve::agent::libvirt {

namespace {

std::string name_of(virDomainPtr domain) {
  const char* name = virDomainGetName(domain);
  return printable(name == nullptr ? "" : name);
}

Error wrong_state(virDomainPtr domain, const DomainState& state) {
  static constexpr std::string_view kNames[] = {"stopped", "running", "paused", "crashed"};
  return Error(Code::FailedPrecondition, "GUEST_STATE",
               "guest '" + name_of(domain) + "' is " +
                   std::string(kNames[static_cast<std::size_t>(guest_state(state))]));
}

/// Remembers the start in the running definition alone: it goes with it, and survives the daemon.
void note_start(virDomainPtr domain, WallTime now) {
  const Text mark(virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, kNamespace,
                                       VIR_DOMAIN_AFFECT_CONFIG));
  pugi::xml_document document;
  if (!mark || !document.load_string(mark.get()) || !document.first_child()) return;
  set_attribute(document.first_child(), "started", std::to_string(to_micros(now)));
  virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, to_text(document).c_str(), "reeve",
                       kNamespace, VIR_DOMAIN_AFFECT_LIVE);
}

bool agent_answers(virDomainPtr domain, Guests& guests, std::chrono::seconds deadline) {
  const auto read = guests.definitions(domain, true);
  if (!read.ok() || !read.value().live || !read.value().live->agent_connected) return false;
  virDomainAgentSetResponseTimeout(domain, static_cast<int>(deadline.count()), 0);
  return true;
}

/// A verb failed; fine all the same if the guest is as it was meant to be (`active`).
Status failed(std::string_view attempt, virDomainPtr domain, bool active) {
  Error error = last_error(attempt);  // before the next call forgets it
  if (virDomainIsActive(domain) == (active ? 1 : 0)) return {};
  return error;
}

Result<DomainState> running_state(virDomainPtr domain) {
  const auto state = TRY(state_of(domain));
  if (guest_state(state) != GuestState::Running) return wrong_state(domain, state);
  return state;
}

}  // namespace

Result<Domain> find_domain(virConnectPtr connect, std::string_view uid) {
  const std::string text(uid);
  if (!is_uuid(uid)) return Error(Code::NotFound, "GUEST_NOT_FOUND", "no guest '" + text + "'");
  Domain domain(virDomainLookupByUUIDString(connect, text.c_str()));
  if (!domain) return last_error("finding guest " + text);
  return domain;
}

Status start_guest(virDomainPtr domain, WallTime now) {
  const auto state = TRY(state_of(domain));
  switch (guest_state(state)) {
    case GuestState::Running: return {};
    case GuestState::Paused: return wrong_state(domain, state);
    case GuestState::Crashed:
      if (is_active(state)) virDomainDestroy(domain);  // kept by its hypervisor for a look
      break;
    case GuestState::Stopped: break;
  }
  if (virDomainCreate(domain) < 0) return failed("starting the guest", domain, true);
  note_start(domain, now);
  return {};
}

Status shut_down_guest(virDomainPtr domain, Guests& guests, std::chrono::seconds agent_deadline) {
  const auto state = TRY(state_of(domain));
  if (!is_active(state)) return {};
  TRY(running_state(domain));
  if (agent_answers(domain, guests, agent_deadline) &&
      virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) == 0)
    return {};
  // Without a choice libvirt would ask the agent again, and wait for it.
  if (virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) == 0) return {};
  if (virDomainShutdown(domain) < 0) return failed("asking the guest to shut down", domain, false);
  return {};
}

Status reboot_guest(virDomainPtr domain, Guests& guests, std::chrono::seconds agent_deadline) {
  TRY(running_state(domain));
  if (agent_answers(domain, guests, agent_deadline) &&
      virDomainReboot(domain, VIR_DOMAIN_REBOOT_GUEST_AGENT) == 0)
    return {};
  if (virDomainReboot(domain, VIR_DOMAIN_REBOOT_ACPI_POWER_BTN) == 0) return {};
  if (virDomainReboot(domain, 0) < 0) return last_error("asking the guest to reboot");
  return {};
}

Status power_off_guest(virDomainPtr domain) {
  const auto state = TRY(state_of(domain));
  if (!is_active(state)) return {};
  if (virDomainDestroy(domain) < 0) return failed("powering off the guest", domain, false);
  return {};
}

Status reset_guest(virDomainPtr domain) {
  TRY(running_state(domain));
  if (virDomainReset(domain, 0) < 0) return last_error("resetting the guest");
  return {};
}

Status pause_guest(virDomainPtr domain) {
  const auto state = TRY(state_of(domain));
  if (guest_state(state) == GuestState::Paused) return {};
  TRY(running_state(domain));
  if (virDomainSuspend(domain) < 0) return last_error("pausing the guest");
  return {};
}

Status resume_guest(virDomainPtr domain) {
  const auto state = TRY(state_of(domain));
  if (guest_state(state) == GuestState::Running) return {};
  if (!is_active(state)) return wrong_state(domain, state);
  if (virDomainResume(domain) < 0) return last_error("resuming the guest");
  return {};
}

Result<GuestFacts> ask_guest(virDomainPtr domain, std::chrono::seconds agent_deadline) {
  virDomainAgentSetResponseTimeout(domain, static_cast<int>(agent_deadline.count()), 0);
  GuestFacts facts;
  virDomainInterfacePtr* cards = nullptr;
  const int count =
      virDomainInterfaceAddresses(domain, &cards, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0);
  if (count < 0) return last_error("asking the guest for its addresses");
  for (int i = 0; i < count; ++i) {
    const auto& card = *cards[i];
    GuestNicFacts nic{.name = card.name ? card.name : "", .mac = card.hwaddr ? card.hwaddr : ""};
    for (unsigned a = 0; a < card.naddrs; ++a) nic.addresses.emplace_back(card.addrs[a].addr);
    if (!nic.mac.empty() && nic.mac != "00:00:00:00:00:00") facts.nics.push_back(std::move(nic));
    virDomainInterfaceFree(cards[i]);
  }
  std::free(cards);  // NOLINT: libvirt allocates with malloc
  virTypedParameterPtr told = nullptr;
  int many = 0;
  // Older agents do not know it: what they told stands.
  if (virDomainGetGuestInfo(domain, VIR_DOMAIN_GUEST_INFO_OS | VIR_DOMAIN_GUEST_INFO_HOSTNAME,
                            &told, &many, 0) < 0)
    return facts;
  const auto text = [&](const char* name) -> std::string {
    const char* value = nullptr;
    return virTypedParamsGetString(told, many, name, &value) == 1 && value ? value : "";
  };
  facts.os_id = text("os.id");
  facts.os_name = text("os.pretty-name");
  facts.os_version = text("os.version-id");
  facts.kernel_release = text("os.kernel-release");
  facts.machine = text("os.machine");
  facts.host_name = text("hostname");
  virTypedParamsFree(told, many);
  return facts;
}

Result<std::string> console_path_of(virDomainPtr domain, Guests& guests) {
  const auto state = TRY(state_of(domain));
  if (!is_active(state)) return wrong_state(domain, state);
  const auto read = TRY(guests.definitions(domain, true));
  if (!read.live || read.live->serial_path.empty())
    return Error(Code::Unimplemented, "NOT_SUPPORTED",
                 "guest '" + name_of(domain) + "' has no serial port we can open");
  return read.live->serial_path;
}

Result<std::string> console_log_of(virDomainPtr domain, Guests& guests) {
  const auto state = TRY(state_of(domain));
  const auto read = TRY(guests.definitions(domain, is_active(state)));
  const auto& now = read.live ? *read.live : read.config;
  if (now.serial_log.empty())
    return Error(Code::Unimplemented, "NOT_SUPPORTED",
                 "guest '" + name_of(domain) + "' has no console log");
  return now.serial_log;
}

Status save_guest(virDomainPtr domain, const std::string& path) {
  const auto state = TRY(state_of(domain));
  if (!is_active(state)) {
    // A repeat of a save whose answer was lost finds the guest off, nothing since, and its file
    // complete.
    const Text saved(virDomainSaveImageGetXMLDesc(virDomainGetConnect(domain), path.c_str(), 0));
    if (saved && state.reason == VIR_DOMAIN_SHUTOFF_SAVED &&
        std::string_view(saved.get()).find(uid_of(domain)) != std::string_view::npos)
      return {};
    return wrong_state(domain, state);
  }
  if (virDomainSave(domain, path.c_str()) < 0) return last_error("saving the guest");
  return {};
}

Status restore_guest(virDomainPtr domain, const std::string& path, WallTime now) {
  const auto state = TRY(state_of(domain));
  if (is_active(state)) return {};
  // Its next start would go on from that one, whatever ran meanwhile.
  if (virDomainHasManagedSaveImage(domain, 0) == 1)
    return Error(Code::FailedPrecondition, "GUEST_STATE",
                 "guest '" + name_of(domain) + "' has another saved state, made outside of Reeve")
        .remedy(
            "start it from that one (virsh start), or drop that one (virsh managedsave-remove)");
  const auto connect = virDomainGetConnect(domain);
  const Text saved(virDomainSaveImageGetXMLDesc(connect, path.c_str(), 0));
  if (saved && std::string_view(saved.get()).find(uid_of(domain)) == std::string_view::npos)
    return Error(Code::InvalidArgument, "SAVED_STATE_NOT_FOUND",
                 "'" + path + "' holds the state of another guest");
  if (virDomainRestoreFlags(connect, path.c_str(), nullptr, VIR_DOMAIN_SAVE_PAUSED) < 0)
    return last_error("restoring the guest");
  note_start(domain, now);
  return {};
}

Status undefine_guest(virDomainPtr domain, Guests& guests) {
  const auto state = TRY(state_of(domain));
  if (is_active(state)) return wrong_state(domain, state);  // libvirt would make it transient
  const auto read = TRY(guests.definitions(domain, false));
  // Flags only for what is there: drivers refuse those they do not know.
  unsigned flags = 0;
  if (virDomainHasManagedSaveImage(domain, 0) == 1) flags |= VIR_DOMAIN_UNDEFINE_MANAGED_SAVE;
  if (virDomainSnapshotNum(domain, 0) > 0) flags |= VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
  if (virDomainListAllCheckpoints(domain, nullptr, 0) > 0)
    flags |= VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
  if (read.config.has_nvram) flags |= VIR_DOMAIN_UNDEFINE_NVRAM;
  if (read.config.has_tpm) flags |= VIR_DOMAIN_UNDEFINE_TPM;
  if (virDomainUndefineFlags(domain, flags) == 0) return {};
  if (flags == 0 && last_error_is_unsupported() && virDomainUndefine(domain) == 0) return {};
  Error error = last_error("removing the guest");
  if (error.reason() == "GUEST_NOT_FOUND") return {};
  return error;
}

}  // namespace reeve::agent::libvirt
