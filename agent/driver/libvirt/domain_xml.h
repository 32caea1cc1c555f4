// agent/driver/libvirt/domain_xml.h - a new libvirt domain from a GuestDefinition.
//
// Nothing is left to be guessed by the hypervisor: every disk names its format and its whole
// backing chain. The machine is a q35 with ACPI, virtio devices on PCI Express, no graphics,
// pvpanic, a VM generation id, and the serial console on RUN_DIR/serial.sock with a copy of its
// output in RUN_DIR/serial.log. Format: libvirt.org/formatdomain.html.
#pragma once

#include <string>

#include <pugixml.hpp>

#include "agent/driver/driver.h"
#include "base/status.h"

namespace reeve::agent::libvirt {

/// Our metadata namespace. What it marks is ours to change: see mark_of() in domain_facts.h.
inline constexpr const char* kNamespace = "urn:reeve:guest:1";

/// What depends on the hypervisor, not on the guest.
struct XmlChoices {
  std::string domain_type{"qemu"};  ///< "kvm", "qemu" (software emulation), "test"
  std::string name{};               ///< the domain's name on this hypervisor
  std::string disk_cache{"writeback"};
  bool confine = true;  ///< false: no security label, for daemons that run guests as themselves
};

/// InvalidArgument/GUEST_INVALID for what libvirt would refuse late or not at all (socket path too
/// long, bad UUID, text that is not UTF-8).
Status check_definition(const GuestDefinition& guest);

pugi::xml_document new_domain(const GuestDefinition& guest, const XmlChoices& choices);
std::string to_text(const pugi::xml_document& document);

/// A name libvirt takes for a domain, as like `display_name` as it can be: no '/', no control
/// characters, valid UTF-8, 1 to 120 bytes.
std::string domain_name_for(std::string_view display_name);
/// The same, made unique: NAME-uid8.
std::string domain_name_for(std::string_view display_name, std::string_view uid);

std::string serial_socket_path(const GuestDefinition& guest);
std::string serial_log_path(const GuestDefinition& guest);
/// Changes whenever anything of the definition does.
std::string digest_of(const GuestDefinition& guest);

// The pieces, shared with domain_edit.
void add_disk(pugi::xml_node devices, const GuestDisk& disk, const std::string& target,
              const std::string& cache);
void fill_disk(pugi::xml_node disk_node, const GuestDisk& disk, const std::string& cache);
GuestDisk seed_disk(const GuestDefinition& guest);
void add_nic(pugi::xml_node devices, const GuestNic& nic);
void fill_nic(pugi::xml_node interface, const GuestNic& nic);
void add_agent_channel(pugi::xml_node devices);
void fill_boot(pugi::xml_node os, const GuestDefinition& guest);
/// Replaces our element in `domain`'s metadata.
void write_mark(pugi::xml_node domain, const GuestDefinition& guest);
/// "vda", "vdb", ..., "vdz", "vdaa".
std::string disk_target(std::size_t index);
/// Finds or makes a child element.
pugi::xml_node child_of(pugi::xml_node parent, const char* name);
void set_text(pugi::xml_node parent, const char* name, const std::string& text);
void set_attribute(pugi::xml_node node, const char* name, const std::string& value);

}  // namespace reeve::agent::libvirt
