// Driver::define: a new domain, or an existing one patched, written, read again and compared.
#include <algorithm>

#include "agent/driver/libvirt/domain_edit.h"
#include "agent/driver/libvirt/error.h"
#include "agent/driver/libvirt/limits.h"
#include "agent/driver/libvirt/verbs.h"
#include "base/log.h"
#include "base/text.h"

namespace reeve::agent::libvirt {

namespace {

Result<Domain> write_definition(virConnectPtr connect, const pugi::xml_document& document,
                                bool validate) {
  Domain domain(virDomainDefineXMLFlags(connect, to_text(document).c_str(),
                                        validate ? VIR_DOMAIN_DEFINE_VALIDATE : 0));
  if (!domain) return last_error("writing the definition");
  return domain;
}

/// INACTIVE because the running one has other parts; SECURE because a definition written back
/// without its passwords loses them.
Result<pugi::xml_document> read_definition(virDomainPtr domain) {
  const Text xml(virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE));
  if (!xml) return last_error("reading the definition");
  return parse_domain(xml.get());
}

std::string free_name(virConnectPtr connect, const GuestDefinition& guest) {
  auto name = domain_name_for(guest.display_name);
  const Domain taken(virDomainLookupByName(connect, name.c_str()));
  return taken ? domain_name_for(guest.display_name, guest.uid) : name;
}

Error parts_lost(const GuestDefinition& guest, std::vector<std::string> lost) {
  constexpr std::size_t kMostNamed = 20;
  const auto count = lost.size();
  if (count > kMostNamed) lost.resize(kMostNamed);
  return Error(Code::FailedPrecondition, "FOREIGN_PARTS_LOST",
               "changing guest '" + guest.display_name + "' would lose " + std::to_string(count) +
                   " parts of its definition: " + join(lost, ", "))
      .remedy("Remove these parts with the hypervisor's own tools, or change the guest there.");
}

Status change_definition(virConnectPtr connect, virDomainPtr domain, const GuestDefinition& guest,
                         const XmlChoices& choices, bool validate) {
  const auto before = TRY(read_definition(domain));
  pugi::xml_document wanted;
  wanted.reset(before);
  patch_domain(wanted, guest, choices);
  if (canonical_parts(before) == canonical_parts(wanted)) return {};
  TRY(write_definition(connect, wanted, validate));
  const auto stored = TRY(read_definition(domain));
  auto lost = lost_parts(before, wanted, stored);
  if (lost.empty()) return {};
  const auto restored = write_definition(connect, before, false);
  if (!restored.ok())
    log::error("definition could not be put back", restored.error(), {{"guest", guest.uid}});
  return parts_lost(guest, std::move(lost));
}

/// A running guest has its limits at once, and first: where they cannot be set nothing is changed.
Result<std::vector<std::string>> change_guest(virConnectPtr connect, Guests& guests,
                                              virDomainPtr domain, const GuestDefinition& guest,
                                              const XmlChoices& choices, bool validate) {
  const auto state = TRY(state_of(domain));
  const auto before = TRY(read_definition(domain));
  const auto owned = owned_limits(before.child("domain"));
  const auto running = TRY(guests.definitions(domain, is_active(state)));
  if (running.live) TRY(apply_limits(domain, running.live->memory_mib, guest.limits, owned));
  if (auto changed = change_definition(connect, domain, guest, choices, validate); !changed.ok()) {
    if (running.live)
      (void)apply_limits(domain, running.live->memory_mib, {}, limit_kinds(guest.limits));
    return std::move(changed).error();
  }
  const auto now = TRY(guests.definitions(domain, is_active(state)));
  return pending_restart(now);
}

}  // namespace

Result<std::vector<std::string>> define_guest(virConnectPtr connect, Guests& guests,
                                              const GuestDefinition& guest, XmlChoices choices,
                                              const Abilities& abilities) {
  if (abilities.domain_type.empty())
    return Error(Code::Unimplemented, "NOT_SUPPORTED",
                 "guests of " + abilities.type + " are not defined through this driver");
  TRY(check_definition(guest));
  choices.domain_type = abilities.domain_type;
  auto found = find_domain(connect, guest.uid);
  if (found.ok())
    return change_guest(connect, guests, found.value().get(), guest, choices, abilities.validates);
  if (found.error().reason() != "GUEST_NOT_FOUND") return std::move(found).error();
  choices.name = free_name(connect, guest);
  TRY(write_definition(connect, new_domain(guest, choices), abilities.validates));
  return std::vector<std::string>{};
}

}  // namespace reeve::agent::libvirt
